# Finds what libattn and its driver are linked to. Read by the project's own CMake and, installed, by attnConfig.cmake, so
# that both look for the same things in the same way.
#
# attn_find(NAME) defines the imported target attn::NAME when NAME is found, and nothing otherwise. NAME: mpi, hdf5 (parallel,
# with its high-level library), openmp, hwloc, cjson, popt, cunit, random123, onednn.

function(attn_find name)
    if(NOT TARGET attn::${name})
        cmake_language(CALL attn_find_${name})
    endif()
endfunction()

# attn_define(NAME LIBRARY...): imported targets have system headers, so their warnings are not ours.
function(attn_define name)
    add_library(attn::${name} INTERFACE IMPORTED)
    target_link_libraries(attn::${name} INTERFACE ${ARGN})
endfunction()

function(attn_find_mpi)
    find_package(MPI QUIET COMPONENTS C)
    if(MPI_C_FOUND)
        attn_define(mpi MPI::MPI_C)
    endif()
endfunction()

function(attn_find_hdf5)
    set(HDF5_PREFER_PARALLEL ON)
    find_package(HDF5 QUIET COMPONENTS C HL)
    if(HDF5_FOUND AND NOT HDF5_IS_PARALLEL)
        message(STATUS "The HDF5 that was found (${HDF5_C_INCLUDE_DIRS}) is serial; a parallel one is needed")
    elseif(HDF5_FOUND)
        attn_define(hdf5 ${HDF5_C_HL_LIBRARIES} ${HDF5_C_LIBRARIES})
        target_include_directories(attn::hdf5 INTERFACE ${HDF5_C_INCLUDE_DIRS})
    endif()
endfunction()

function(attn_find_openmp)
    find_package(OpenMP QUIET COMPONENTS C)
    if(OpenMP_C_FOUND)
        attn_define(openmp OpenMP::OpenMP_C)
    endif()
endfunction()

# Its own package would ask for the headers of OpenCL where it was built with it, which nothing here needs. One that runs
# on other threads than OpenMP's is not used: the number of threads could not be set.
function(attn_find_onednn)
    find_path(attn_onednn_include oneapi/dnnl/dnnl_config.h)
    find_library(attn_onednn_library dnnl)
    if(attn_onednn_include AND attn_onednn_library)
        file(STRINGS ${attn_onednn_include}/oneapi/dnnl/dnnl_config.h on_openmp
            REGEX "define DNNL_CPU_THREADING_RUNTIME DNNL_RUNTIME_OMP")
        file(STRINGS ${attn_onednn_include}/oneapi/dnnl/dnnl_version.h version REGEX "define DNNL_VERSION_MAJOR [23]$")
        if(on_openmp AND version)
            attn_define(onednn ${attn_onednn_library})
            target_include_directories(attn::onednn INTERFACE ${attn_onednn_include})
        endif()
    endif()
endfunction()

function(attn_find_random123)
    find_path(attn_random123_include Random123/philox.h)
    if(attn_random123_include)
        attn_define(random123)
        target_include_directories(attn::random123 INTERFACE ${attn_random123_include})
    endif()
endfunction()

# One pkg-config module; falls back to a plain search of header and library.
function(attn_find_module name module header library)
    find_package(PkgConfig QUIET)
    if(PKG_CONFIG_FOUND)
        pkg_check_modules(attn_${name} QUIET IMPORTED_TARGET ${module})
    endif()
    if(attn_${name}_FOUND)
        attn_define(${name} PkgConfig::attn_${name})
        set_target_properties(attn::${name} PROPERTIES attn_module ${module})
        return()
    endif()
    find_path(attn_${name}_include ${header})
    find_library(attn_${name}_library ${library})
    if(attn_${name}_include AND attn_${name}_library)
        attn_define(${name} ${attn_${name}_library})
        target_include_directories(attn::${name} INTERFACE ${attn_${name}_include})
    endif()
endfunction()

function(attn_find_hwloc)
    attn_find_module(hwloc hwloc hwloc.h hwloc)
endfunction()

function(attn_find_cjson)
    attn_find_module(cjson libcjson cjson/cJSON.h cjson)
endfunction()

function(attn_find_popt)
    attn_find_module(popt popt popt.h popt)
endfunction()

function(attn_find_cunit)
    attn_find_module(cunit cunit CUnit/CUnit.h cunit)
endfunction()
