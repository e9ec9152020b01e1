# `cmake --install`: library, headers, pkg-config and CMake package, all relocatable.
install(TARGETS perfcore EXPORT perfcore)
foreach(dir ${includes})
    install(DIRECTORY ${dir}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endforeach()
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/perfcore)
install(EXPORT perfcore NAMESPACE perfcore:: DESTINATION ${package} FILE perfcoreTargets.cmake)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/perfcoreConfig.cmake
    "include(\${CMAKE_CURRENT_LIST_DIR}/perfcoreTargets.cmake)\n")
write_basic_package_version_file(perfcoreConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/perfcoreConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/perfcoreConfigVersion.cmake
    DESTINATION ${package})
# how far the .pc file lies below the prefix: the installed tree may be moved
file(RELATIVE_PATH PERF_PC_PREFIX /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(cmake/perfcore.pc.in perfcore.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/perfcore.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
