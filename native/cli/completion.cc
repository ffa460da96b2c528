#include "cli/completion.h"

#include <map>
#include <set>
#include <vector>

#include "cli/command.h"

namespace dvdi::cli {
namespace {

struct OptionInfo {
  std::vector<std::string> names;  // "-f", "--filter"
  std::string kind;                // of its value: ValueKind, "value" for another one, "" for a flag
  std::string help;
};

struct VerbInfo {
  std::vector<std::string> names;  // the verb and its aliases; "policy install" is one name
  std::string help;
  std::vector<OptionInfo> options;
  std::string positional;  // kind of its arguments
};

OptionInfo InfoOf(const CLI::Option& option) {
  OptionInfo info;
  for (const auto& name : option.get_snames()) info.names.push_back("-" + name);
  for (const auto& name : option.get_lnames()) info.names.push_back("--" + name);
  info.help = option.get_description();
  if (!IsFlag(option)) {
    info.kind = ValueKind(option);
    // `-v NAME:/PATH` begins with a volume's name.
    if (info.names.front() == "-v") info.kind = "mount";
    if (info.kind.empty()) info.kind = "value";
  }
  return info;
}

std::vector<OptionInfo> OptionsOf(const CLI::App& app, std::string* positional) {
  std::vector<OptionInfo> out;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    if (option->get_positional() && option->get_lnames().empty()) {
      if (positional != nullptr) *positional = ValueKind(*option);
      continue;
    }
    out.push_back(InfoOf(*option));
  }
  return out;
}

std::vector<VerbInfo> VerbsOf(const CLI::App& app, const std::string& before = "") {
  std::vector<VerbInfo> out;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_group().empty()) continue;
    auto inner = VerbsOf(*sub, before + sub->get_name() + " ");
    if (!inner.empty()) {
      out.insert(out.end(), inner.begin(), inner.end());
      continue;
    }
    VerbInfo verb;
    verb.names.push_back(before + sub->get_name());
    for (const auto& alias : sub->get_aliases()) verb.names.push_back(before + alias);
    verb.help = sub->get_description();
    verb.options = OptionsOf(*sub, &verb.positional);
    out.push_back(std::move(verb));
  }
  return out;
}

// 'TEXT' for a POSIX shell; fish reads the same as long as no backslash is in it.
std::string Quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string FirstWord(const std::string& text) { return text.substr(0, text.find(' ')); }
std::string SecondWord(const std::string& text) {
  size_t space = text.find(' ');
  return space == std::string::npos ? "" : text.substr(space + 1);
}

std::string Joined(const std::vector<std::string>& words, const char* between) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : between) + word;
  return out;
}

// `case` arms "VERB:OPTION) kind=…" and "VERB) options=… positional=…", which bash and zsh share.
std::string Tables(const CLI::App& app) {
  std::string arms, verbs_arms;
  std::set<std::string> first_words;
  auto options_of = [&](const std::string& pattern, const std::vector<OptionInfo>& options) {
    std::string names;
    for (const auto& option : options) {
      for (const auto& name : option.names) names += " " + name;
      if (option.kind.empty()) continue;
      std::vector<std::string> patterns;
      for (const auto& name : option.names) patterns.push_back(pattern + ":" + name);
      arms += "    " + Joined(patterns, "|") + ") kind=" + option.kind + " ;;\n";
    }
    return names;
  };
  std::string global = options_of("*", OptionsOf(app, nullptr));
  // The verbs' own come first: -f and --driver mean different things.
  std::string general = std::move(arms);
  arms.clear();
  // "oci hook" and "oci bundle" are one word with two behind it.
  struct Word {
    std::string options, positional, inner;
  };
  std::map<std::string, Word> by_word;
  for (const auto& verb : VerbsOf(app)) {
    for (const auto& name : verb.names) {
      Word& word = by_word[FirstWord(name)];
      first_words.insert(FirstWord(name));
      word.options += options_of(FirstWord(name), verb.options);
      if (!verb.positional.empty()) word.positional = verb.positional;
      if (std::string second = SecondWord(name); !second.empty())
        word.inner += (word.inner.empty() ? "" : " ") + second;
    }
  }
  for (const auto& [name, word] : by_word)
    verbs_arms += "    " + name + ") options=" + Quoted(word.options.empty() ? "" : word.options.substr(1)) +
                  " positional=" + (word.positional.empty() ? "''" : word.positional) +
                  " inner=" + Quoted(word.inner) + " ;;\n";
  std::string words;
  for (const auto& word : first_words) words += (words.empty() ? "" : " ") + word;
  return "  local verbs=" + Quoted(words) + " global=" + Quoted(global.substr(1)) +
         "\n"
         "  local verb='' options='' positional='' inner='' kind='' i word\n"
         "  for ((i = first; i < at; i++)); do\n"
         "    word=${words[i]}\n"
         "    [[ $word == -- ]] && { command_at=$((i + 1)); break; }\n"
         "    [[ -z $verb && \" $verbs \" == *\" $word \"* ]] && verb=$word\n"
         "  done\n"
         "  case $verb in\n" +
         verbs_arms +
         "  esac\n"
         "  case $verb:$prev in\n" +
         arms + general + "  esac\n";
}

std::string Bash(const CLI::App& app) {
  return "# bash completion for dvdi, made by `dvdi completion bash`.\n"
         "_dvdi_offer() {\n"
         "  # Names are data: they are compared and quoted, never expanded.\n"
         "  local one\n"
         "  while IFS= read -r one; do\n"
         "    [[ -n $one && $one == \"$cur\"* ]] && COMPREPLY+=(\"$(printf '%q' \"$one\")$1\")\n"
         "  done\n"
         "}\n"
         "_dvdi() {\n"
         "  local cur=${COMP_WORDS[COMP_CWORD]} prev='' command_at=0 first=1 at=$COMP_CWORD\n"
         "  local -a words=(\"${COMP_WORDS[@]}\")\n"
         "  COMPREPLY=()\n"
         "  ((at > 0)) && prev=${words[at - 1]}\n"
         "  # `--driver=x` comes as three words.\n"
         "  if [[ $cur == = ]]; then\n"
         "    cur=''\n"
         "  elif [[ $prev == = ]]; then\n"
         "    prev=${words[at - 2]}\n"
         "  fi\n" +
         Tables(app) +
         "  if ((command_at > 0)); then\n"
         "    COMP_WORDS=(\"${COMP_WORDS[@]:command_at}\")\n"
         "    COMP_CWORD=$((COMP_CWORD - command_at))\n"
         "    if declare -F _command_offset >/dev/null; then\n"
         "      _command_offset 0\n"
         "    elif ((COMP_CWORD == 0)); then\n"
         "      mapfile -t COMPREPLY < <(compgen -c -- \"$cur\")\n"
         "    else\n"
         "      mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
         "    fi\n"
         "    return\n"
         "  fi\n"
         "  [[ -z $kind && $cur != -* ]] && kind=${positional:-none}\n"
         "  [[ -z $verb && $kind == none ]] && kind=verb\n"
         "  for word in $inner; do\n"
         "    [[ \" ${words[*]:0:at} \" == *\" $word \"* ]] && inner=''\n"
         "  done\n"
         "  [[ -n $inner ]] && kind=inner\n"
         "  case $kind in\n"
         "    verb) _dvdi_offer ' ' < <(printf '%s\\n' $verbs) ;;\n"
         "    inner) _dvdi_offer ' ' < <(printf '%s\\n' $inner) ;;\n"
         "    volume) _dvdi_offer ' ' < <(dvdi names volumes 2>/dev/null) ;;\n"
         "    mount) [[ $cur == *:* ]] || _dvdi_offer : < <(dvdi names volumes 2>/dev/null) ;;\n"
         "    driver) _dvdi_offer ' ' < <(dvdi names drivers 2>/dev/null) ;;\n"
         "    shell) _dvdi_offer ' ' < <(printf '%s\\n' bash zsh fish) ;;\n"
         "    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
         "    folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n"
         "    '') _dvdi_offer ' ' < <(printf '%s\\n' $options $global --help) ;;\n"
         "  esac\n"
         "}\n"
         "complete -o nospace -F _dvdi dvdi\n";
}

std::string Zsh(const CLI::App& app) {
  std::string described;
  std::set<std::string> seen;
  for (const auto& verb : VerbsOf(app)) {
    std::string help = verb.help;
    for (const auto& name : verb.names) {
      if (!seen.insert(FirstWord(name)).second) continue;
      std::string entry = FirstWord(name) + ":" + help;
      described += " " + Quoted(entry);
    }
  }
  return "#compdef dvdi\n"
         "# zsh completion for dvdi, made by `dvdi completion zsh`.\n"
         "_dvdi() {\n"
         "  setopt localoptions ksharrays\n"
         "  local cur=${words[CURRENT-1]} prev=${words[CURRENT-2]} command_at=0 first=1 at=$((CURRENT - 1))\n"
         "  local -a described names\n"
         "  described=(" +
         described + ")\n" + Tables(app) +
         "  if ((command_at > 0)); then\n"
         "    unsetopt ksharrays\n"
         "    shift $command_at words\n"
         "    ((CURRENT -= command_at))\n"
         "    _normal\n"
         "    return\n"
         "  fi\n"
         "  [[ -z $kind && $cur != -* ]] && kind=${positional:-none}\n"
         "  [[ -z $verb && $kind == none ]] && kind=verb\n"
         "  for word in ${=inner}; do\n"
         "    [[ \" ${words[*]} \" == *\" $word \"* ]] && inner=''\n"
         "  done\n"
         "  [[ -n $inner ]] && kind=inner\n"
         "  unsetopt ksharrays\n"
         "  case $kind in\n"
         "    verb) _describe verb described ;;\n"
         "    inner) compadd -- ${=inner} ;;\n"
         "    volume) names=(\"${(@f)$(dvdi names volumes 2>/dev/null)}\"); compadd -a names ;;\n"
         "    mount) names=(\"${(@f)$(dvdi names volumes 2>/dev/null)}\"); compadd -S : -a names ;;\n"
         "    driver) names=(\"${(@f)$(dvdi names drivers 2>/dev/null)}\"); compadd -a names ;;\n"
         "    shell) compadd -- bash zsh fish ;;\n"
         "    file) _files ;;\n"
         "    folder) _files -/ ;;\n"
         "    '') names=(${(z)options} ${(z)global} --help); compadd -a names ;;\n"
         "  esac\n"
         "}\n"
         "if [[ ${funcstack[1]} == _dvdi ]]; then _dvdi \"$@\"; else compdef _dvdi dvdi; fi\n";
}

std::string FishOption(const std::string& condition, const OptionInfo& option) {
  std::string line = "complete -c dvdi" + condition;
  for (const auto& name : option.names)
    line += name[1] == '-' ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (option.kind == "volume" || option.kind == "mount")
    line += " -x -a '(dvdi names volumes 2>/dev/null)'";
  else if (option.kind == "driver")
    line += " -x -a '(dvdi names drivers 2>/dev/null)'";
  else if (option.kind == "file" || option.kind == "folder")
    line += " -r -F";
  else if (!option.kind.empty())
    line += " -x";
  return line + " -d " + Quoted(option.help) + "\n";
}

std::string Fish(const CLI::App& app) {
  std::string out =
      "# fish completion for dvdi, made by `dvdi completion fish`.\n"
      "complete -c dvdi -f\n";
  for (const auto& option : OptionsOf(app, nullptr)) out += FishOption("", option);
  std::set<std::string> seen;
  for (const auto& verb : VerbsOf(app)) {
    std::vector<std::string> firsts;
    for (const auto& name : verb.names) {
      firsts.push_back(FirstWord(name));
      if (seen.insert(FirstWord(name)).second)
        out += "complete -c dvdi -n __fish_use_subcommand -a " + FirstWord(name) + " -d " +
               Quoted(verb.help) + "\n";
    }
    std::string condition = " -n '__fish_seen_subcommand_from " + Joined(firsts, " ") + "'";
    if (std::string inner = SecondWord(verb.names[0]); !inner.empty())
      out += "complete -c dvdi" + condition + " -a " + inner + " -d " + Quoted(verb.help) + "\n";
    if (verb.positional == "volume")
      out += "complete -c dvdi" + condition + " -a '(dvdi names volumes 2>/dev/null)'\n";
    if (verb.positional == "shell") out += "complete -c dvdi" + condition + " -a 'bash zsh fish'\n";
    if (verb.positional == "file") out += "complete -c dvdi" + condition + " -F\n";
    for (const auto& option : verb.options) out += FishOption(condition, option);
  }
  return out;
}

}  // namespace

std::string CompletionScript(const CLI::App& app, const std::string& shell) {
  return shell == kBash ? Bash(app) : shell == kZsh ? Zsh(app) : shell == kFish ? Fish(app) : "";
}

}  // namespace dvdi::cli
