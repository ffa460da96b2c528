# Before packages are made of what was installed for them: folders have the umask of who builds until then, and dpkg would make them so
# on a node (0700: nobody but root has the manual; 0775: a group writes).
file(CHMOD_RECURSE ${CPACK_TEMPORARY_DIRECTORY} DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
