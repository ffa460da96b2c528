# cmake -DFILE=… -DOUT=… -P Sha256Literal.cmake: the SHA-256 of a file, as a C string literal in another one.
file(SHA256 "${FILE}" hash)
file(WRITE "${OUT}" "\"${hash}\"\n")
