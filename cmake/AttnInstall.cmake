# What `cmake --install` puts where: the driver, the library with its headers, its CMake package and attn.pc, documents and
# examples. The tree can be moved: nothing in it names its own prefix.
include(CMakePackageConfigHelpers)

# The driver finds a shared libattn from where it stands; both find libraries outside the system's folders where they were.
file(RELATIVE_PATH attn_bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(attn attnbench PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
if(BUILD_SHARED_LIBS)
    set_target_properties(attnbench PROPERTIES INSTALL_RPATH "\$ORIGIN/${attn_bin_to_lib}")
endif()

install(TARGETS attnbench)
install(TARGETS attn EXPORT attnTargets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/attn DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs examples DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Who links to a shared libattn needs MPI alone, as its headers do; who links to the archive, all that it uses.
set(attn_config_needs mpi)
if(NOT BUILD_SHARED_LIBS)
    list(APPEND attn_config_needs hdf5 openmp hwloc cjson)
    if(TARGET attn::onednn)
        list(APPEND attn_config_needs onednn)
    endif()
endif()

list(JOIN attn_config_needs " " attn_config_needs_text)

# --- the CMake package
set(attn_config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/attn)
configure_package_config_file(cmake/attnConfig.cmake.in ${PROJECT_BINARY_DIR}/attnConfig.cmake
    INSTALL_DESTINATION ${attn_config_folder} NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/attnConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/attnConfig.cmake ${PROJECT_BINARY_DIR}/attnConfigVersion.cmake cmake/AttnFind.cmake
    DESTINATION ${attn_config_folder})
install(EXPORT attnTargets NAMESPACE attn:: DESTINATION ${attn_config_folder})

# --- attn.pc. pkg-config knows no difference between an archive and a shared object that would help here: where there is only
# the archive, plain `pkg-config --libs` has to name all that it uses, so nothing stands under Requires.private.
set(attn_pc_folder ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH attn_pc_to_prefix ${attn_pc_folder} ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" attn_pc_to_prefix ${attn_pc_to_prefix})
file(RELATIVE_PATH attn_pc_to_include ${attn_pc_folder} ${CMAKE_INSTALL_FULL_INCLUDEDIR})

# attn_pc_collect(ITEM OUT): the flags that link a target with all that it needs, or a library.
function(attn_pc_collect item out)
    if(TARGET ${item})
        get_target_property(type ${item} TYPE)
        get_target_property(below ${item} INTERFACE_LINK_LIBRARIES)
        if(NOT type STREQUAL INTERFACE_LIBRARY)
            set(flags $<TARGET_LINKER_FILE:${item}>)
        endif()
        foreach(library IN LISTS below)
            if(library)
                attn_pc_collect(${library} more)
                list(APPEND flags ${more})
            endif()
        endforeach()
    elseif(item MATCHES "^[-/$]")
        set(flags ${item})
    else()
        set(flags -l${item})
    endif()
    set(${out} ${flags} PARENT_SCOPE)
endfunction()

get_target_property(attn_pc_mpi_folders MPI::MPI_C INTERFACE_INCLUDE_DIRECTORIES)
list(TRANSFORM attn_pc_mpi_folders PREPEND -I OUTPUT_VARIABLE attn_pc_cflags)
list(APPEND attn_pc_cflags -DOMPI_SKIP_MPICXX -DMPICH_SKIP_MPICXX) # as src/CMakeLists.txt has it
foreach(name IN LISTS attn_config_needs)
    get_target_property(module attn::${name} attn_module)
    if(module)
        list(APPEND attn_pc_requires ${module})
    elseif(name STREQUAL openmp AND CMAKE_C_COMPILER_ID STREQUAL GNU)
        list(APPEND attn_pc_libs -fopenmp) # the path of gcc's library has the version of gcc in it
    else()
        attn_pc_collect(attn::${name} flags)
        list(APPEND attn_pc_libs ${flags})
    endif()
endforeach()
if(NOT BUILD_SHARED_LIBS)
    list(APPEND attn_pc_libs -lm)
endif()
list(REMOVE_DUPLICATES attn_pc_libs)
list(JOIN attn_pc_cflags " " attn_pc_cflags)
list(JOIN attn_pc_requires " " attn_pc_requires)
list(JOIN attn_pc_libs " " attn_pc_libs)
configure_file(cmake/attn.pc.in ${PROJECT_BINARY_DIR}/attn.pc.in @ONLY)
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/attn.pc INPUT ${PROJECT_BINARY_DIR}/attn.pc.in)
install(FILES ${PROJECT_BINARY_DIR}/attn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
