# Finds an installed Apache Mesos to build modules for: MESOS_ROOT (a variable of CMake or of the environment) names its
# prefix, else the usual places are looked at. What is expected there:
#   include/{mesos,process,stout}     the headers
#   lib/mesos/3rdparty/include        boost, glog, protobuf, picojson, …: what --enable-install-module-dependencies
#                                     installs; without it, the system's
#   lib/libmesos.so                   for its compiler's version alone: a module does not link it
# stout wants the headers of apr, svn and curl, too.
#
# Sets Mesos_FOUND, Mesos_VERSION, Mesos_INCLUDE_DIRS, Mesos_CXX_FLAGS (that a module's compiler needs to agree with
# libmesos's), and otherwise Mesos_WHY, why it was not found. The target Mesos::Module has all that a module needs.
set(MESOS_ROOT "$ENV{MESOS_ROOT}" CACHE PATH "Prefix of the Apache Mesos that the module is built for")
set(Mesos_WHY "")
find_path(Mesos_INCLUDE_DIR mesos/slave/isolator.hpp HINTS ${MESOS_ROOT}/include)
find_path(Mesos_BUNDLED_DIR google/protobuf/message.h
  HINTS ${MESOS_ROOT}/lib/mesos/3rdparty/include ${Mesos_INCLUDE_DIR}/../lib/mesos/3rdparty/include)
find_path(Mesos_APR_DIR apr_pools.h PATH_SUFFIXES apr-1.0 apr-1)
find_path(Mesos_SVN_DIR svn_version.h PATH_SUFFIXES subversion-1)
find_path(Mesos_CURL_DIR curl/curl.h PATH_SUFFIXES x86_64-linux-gnu aarch64-linux-gnu)
find_library(Mesos_LIBRARY mesos HINTS ${MESOS_ROOT}/lib)
mark_as_advanced(Mesos_INCLUDE_DIR Mesos_BUNDLED_DIR Mesos_APR_DIR Mesos_SVN_DIR Mesos_CURL_DIR Mesos_LIBRARY)

if(NOT Mesos_INCLUDE_DIR)
  set(Mesos_WHY "no headers of Apache Mesos: name its prefix with -DMESOS_ROOT=DIR")
else()
  foreach(part BUNDLED:protobuf APR:apr SVN:subversion CURL:curl)
    string(REPLACE ":" ";" part ${part})
    list(GET part 0 name)
    list(GET part 1 what)
    if(NOT Mesos_${name}_DIR)
      set(Mesos_WHY "Apache Mesos is at ${Mesos_INCLUDE_DIR}, but there are no headers of ${what}")
    endif()
  endforeach()
  file(STRINGS ${Mesos_INCLUDE_DIR}/mesos/version.hpp version REGEX "define MESOS_VERSION \"")
  string(REGEX REPLACE ".*\"([0-9.]+).*" "\\1" Mesos_VERSION "${version}")
endif()

# A name of C++ is written differently by old compilers, and libmesos's are what a module refers to.
if(Mesos_LIBRARY AND NOT DEFINED Mesos_CXX_FLAGS AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(flags "")
  execute_process(COMMAND ${CMAKE_READELF} -p .comment ${Mesos_LIBRARY} OUTPUT_VARIABLE comment ERROR_QUIET)
  if(comment MATCHES "GCC: \\([^)]*\\) 5\\.")
    set(flags -fabi-version=9 -fnew-inheriting-ctors)
  elseif(comment MATCHES "GCC: \\([^)]*\\) 6\\.")
    set(flags -fabi-version=10 -fnew-inheriting-ctors)
  endif()
  set(Mesos_CXX_FLAGS "${flags}" CACHE STRING "Flags by which a module's compiler agrees with libmesos's")
endif()

include(FindPackageHandleStandardArgs)
if(NOT Mesos_WHY)
  set(Mesos_INCLUDE_DIRS ${Mesos_INCLUDE_DIR} ${Mesos_BUNDLED_DIR} ${Mesos_APR_DIR} ${Mesos_SVN_DIR} ${Mesos_CURL_DIR})
  set(Mesos_USABLE TRUE)
else()
  set(Mesos_USABLE FALSE)
endif()
find_package_handle_standard_args(Mesos REQUIRED_VARS Mesos_INCLUDE_DIR Mesos_USABLE VERSION_VAR Mesos_VERSION
  REASON_FAILURE_MESSAGE "${Mesos_WHY}")
if(Mesos_FOUND AND NOT TARGET Mesos::Module)
  add_library(Mesos::Module INTERFACE IMPORTED)
  target_include_directories(Mesos::Module SYSTEM INTERFACE ${Mesos_INCLUDE_DIRS})
  target_compile_options(Mesos::Module INTERFACE ${Mesos_CXX_FLAGS})
endif()
