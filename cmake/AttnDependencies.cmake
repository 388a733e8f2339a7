# Finds every dependency (AttnFind.cmake), then reports all that are missing in one message, with the packages that hold each.

include(AttnFind)

# The packages of jobs/packages.txt under their Debian names: attn_fedora_NAME, attn_spack_NAME.
set(attn_packages_file ${PROJECT_SOURCE_DIR}/jobs/packages.txt)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${attn_packages_file})
file(STRINGS ${attn_packages_file} attn_package_rows REGEX "^[a-z]")
foreach(row IN LISTS attn_package_rows)
    string(REGEX REPLACE " +" ";" row "${row}")
    list(GET row 1 debian)
    list(GET row 3 attn_fedora_${debian})
    list(GET row 4 attn_spack_${debian})
endforeach()

# attn_require(NAME WHAT PACKAGE...): finds NAME, which is WHAT to a reader and in these Debian packages.
set(attn_missing "")
function(attn_require name what)
    attn_find(${name})
    if(TARGET attn::${name})
        return()
    endif()
    foreach(package IN LISTS ARGN)
        if(NOT DEFINED attn_fedora_${package})
            message(FATAL_ERROR "jobs/packages.txt has no row for ${package}")
        endif()
        list(APPEND fedora ${attn_fedora_${package}})
        list(APPEND spack ${attn_spack_${package}})
    endforeach()
    list(REMOVE_DUPLICATES fedora)
    list(REMOVE_DUPLICATES spack)
    list(JOIN ARGN " " debian)
    list(JOIN fedora " " fedora)
    list(JOIN spack " " spack)
    set(attn_missing "${attn_missing}
  ${what}
      Debian, Ubuntu: ${debian}
      Fedora:         ${fedora}
      Spack:          ${spack}" PARENT_SCOPE)
endfunction()

attn_require(mpi "MPI (Open MPI 4 or newer)" libopenmpi-dev openmpi-bin)
attn_require(hdf5 "HDF5 built with MPI (parallel), with its high-level library" libhdf5-openmpi-dev)
attn_require(openmp "OpenMP for the C compiler (gcc has it; clang needs libomp-dev, on Fedora libomp-devel)" gcc)
attn_require(hwloc "hwloc 2" libhwloc-dev)
attn_require(popt "popt" libpopt-dev)
attn_require(cjson "cJSON" libcjson-dev)
attn_require(random123 "Random123 (headers)" librandom123-dev)
if(ATTN_BUILD_TESTS)
    attn_require(cunit "CUnit (or -DATTN_BUILD_TESTS=OFF)" libcunit1-dev)
endif()

# What the build does without: attn_want(NAME WHAT PACKAGE INSTEAD).
function(attn_want name what package instead)
    attn_find(${name})
    if(NOT TARGET attn::${name})
        message(STATUS "No ${what} (Debian, Ubuntu: ${package}; Fedora: ${attn_fedora_${package}}; Spack: ${attn_spack_${package}}): ${instead}")
    endif()
endfunction()

option(ATTN_ONEDNN "Use oneDNN for linear projections where it is found" ON)
if(ATTN_ONEDNN)
    attn_want(onednn "oneDNN 2 or 3" libdnnl-dev "linear projections are computed in plain loops")
endif()

if(attn_missing)
    message(FATAL_ERROR "attnbench needs what is missing here:${attn_missing}\n")
endif()
