// The dynamic symbols and needed libraries of a file, for tests of what is shipped.
#ifndef DVDI_BASE_TESTING_ELF_H_
#define DVDI_BASE_TESTING_ELF_H_

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace dvdi::testing {

using Names = std::set<std::string>;

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Of a 64-bit ELF file.
struct Elf {
  Names exported, imported, needed;

  explicit Elf(const std::string& path) : bytes(ReadFile(path)) {
    Elf64_Ehdr header;
    if (!Copy(0, &header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
      ADD_FAILURE() << path << " is no ELF file";
      return;
    }
    std::vector<Elf64_Shdr> sections(header.e_shnum);
    for (size_t i = 0; i < sections.size(); ++i)
      if (!Copy(header.e_shoff + i * header.e_shentsize, &sections[i])) return;
    for (const auto& s : sections) {
      if (s.sh_link >= sections.size()) continue;
      const Elf64_Shdr& strings = sections[s.sh_link];
      if (s.sh_type == SHT_DYNSYM) {
        for (size_t at = sizeof(Elf64_Sym); at + sizeof(Elf64_Sym) <= s.sh_size; at += sizeof(Elf64_Sym)) {
          Elf64_Sym symbol;
          if (!Copy(s.sh_offset + at, &symbol) || ELF64_ST_BIND(symbol.st_info) == STB_LOCAL) continue;
          (symbol.st_shndx == SHN_UNDEF ? imported : exported).insert(Text(strings, symbol.st_name));
        }
      } else if (s.sh_type == SHT_DYNAMIC) {
        for (size_t at = 0; at + sizeof(Elf64_Dyn) <= s.sh_size; at += sizeof(Elf64_Dyn)) {
          Elf64_Dyn entry;
          if (Copy(s.sh_offset + at, &entry) && entry.d_tag == DT_NEEDED)
            needed.insert(Text(strings, entry.d_un.d_val));
        }
      }
    }
  }

 private:
  template <class T>
  bool Copy(uint64_t at, T* out) const {
    if (at > bytes.size() || bytes.size() - at < sizeof(T)) return false;
    std::memcpy(out, bytes.data() + at, sizeof(T));
    return true;
  }
  std::string Text(const Elf64_Shdr& strings, uint64_t at) const {
    return strings.sh_offset + at < bytes.size() ? std::string(bytes.c_str() + strings.sh_offset + at) : "";
  }
  const std::string bytes;
};

}  // namespace dvdi::testing

#endif  // DVDI_BASE_TESTING_ELF_H_
