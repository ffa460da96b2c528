#include "cli/man.h"

#include "cli/command.h"
#include "cli/dvdcli.h"

namespace dvdi::cli {
namespace {

// "-v, --volume KEY=VALUE".
std::string OptionTitle(const CLI::Option& option) {
  std::string names;
  auto add = [&](const std::string& name) {
    names += (names.empty() ? "\\fB" : ", \\fB") + TroffText(name) + "\\fR";
  };
  for (const auto& name : option.get_snames()) add("-" + name);
  for (const auto& name : option.get_lnames()) add("--" + name);
  if (option.get_positional() && names.empty()) names = "\\fI" + TroffText(option.get_single_name()) + "\\fR";
  bool flag = IsFlag(option);
  std::string type = option.get_type_name();
  if (size_t colon = type.find(':'); colon != std::string::npos) type.resize(colon);
  if (!flag && !option.get_positional())
    names += " \\fI" + TroffText(type == "TEXT" || type == "INT" ? "VALUE" : type) + "\\fR";
  return names;
}

// "dvdi rm [OPTIONS] VOLUME…".
std::string Synopsis(const CLI::App& app, const std::string& name) {
  std::string out = "\\fB" + TroffText(name) + "\\fR [\\fIOPTIONS\\fR]";
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) continue;
    std::string one = "\\fI" + TroffText(option->get_single_name()) + "\\fR";
    if (option->get_items_expected_max() > 1) one += "...";
    out += option->get_required() ? " " + one : " [" + one + "]";
  }
  if (app.get_name() == "run") out += " \\fB\\-\\-\\fR \\fICOMMAND\\fR...";
  return out;
}

std::string VerbText(const CLI::App& app, const std::string& name) {
  if (app.get_group().empty()) return "";  // hidden
  std::string out;
  auto inner = app.get_subcommands([](const CLI::App*) { return true; });
  if (inner.empty()) {
    out += ".SS " + TroffText(name.substr(name.find(' ') + 1)) + "\n" + Synopsis(app, name) + "\n.PP\n" +
           TroffText(app.get_description()) + (app.get_description().ends_with("…") ? "\n" : ".\n");
    for (const auto& alias : app.get_aliases()) out += "Also called \\fB" + TroffText(alias) + "\\fR.\n";
    out += ManOptions(app);
  }
  for (const CLI::App* sub : inner) out += VerbText(*sub, name + " " + sub->get_name());
  return out;
}

}  // namespace

std::string ManHeading(const std::string& name, const std::string& section, const std::string& version) {
  return ".TH " + name + " " + section + " \"\" \"dvdi " + TroffText(version) +
         "\" \"Volumes without Docker\"\n";
}

std::string ManOptions(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    out += ".TP\n" + OptionTitle(*option) + "\n" + TroffText(option->get_description()) + "\n";
  }
  return out;
}

std::string TroffText(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    bool line_begins = i == 0 || text[i - 1] == '\n';
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '"')
      out += "\\(dq";
    else if (c == '`')
      out += "\\(ga";
    else if (c == '\'')
      out += "\\(aq";
    else if (text.compare(i, 3, "…") == 0)
      out += "...", i += 2;
    else
      out += c;
  }
  return out;
}

std::string DvdiManPage(const CLI::App& app, const std::string& version) {
  std::string out = ManHeading("DVDI", "1", version);
  out += ".SH NAME\ndvdi \\- " + TroffText(app.get_description()) + "\n";
  out += ".SH SYNOPSIS\n\\fBdvdi\\fR [\\fIOPTIONS\\fR] \\fIVERB\\fR ...\n";
  out +=
      ".SH DESCRIPTION\n"
      "A workload declares the storage that it needs. When it starts on a node, the volume is found or made "
      "through a "
      "Docker volume plugin, attached, mounted and given to the workload at the path that it asked for; when "
      "the workload "
      "ends, it is given back. No Docker engine is needed.\n";
  out += ".SH OPTIONS\nThey stand before or after the verb.\n" + ManOptions(app);
  out += ".SH VERBS\n";
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    out += VerbText(*sub, "dvdi " + sub->get_name());
  out +=
      ".SH EXIT STATUS\n"
      "0: done. 1: doctor found that something required is missing. 2: the command line is wrong. 11 to 20: "
      "invalid, "
      "refused, not found, unavailable, driver, policy, system, timeout, unsupported, internal. \\fBdvdi "
      "run\\fR ends with "
      "the command's own status, 128 + n where signal n ended it; 125: dvdi itself failed; 126: the command "
      "cannot be "
      "executed; 127: there is no such command.\n"
      ".SH ENVIRONMENT\n"
      ".TP\n\\fBDVDI_CONFIG\\fR\nThe settings file.\n"
      ".TP\n\\fBNO_COLOR\\fR\nNo colours.\n"
      ".TP\n\\fBDVDI_VOLUME_*\\fR\nDeclare volumes, where \\fBdvdi run \\-\\-env\\fR takes them.\n"
      ".SH FILES\n"
      ".TP\n\\fI/etc/dvdi/config.yaml\\fR\nSettings.\n"
      ".TP\n\\fI/var/lib/dvdi\\fR\nLedger, stages, installed policies.\n"
      ".TP\n\\fI/run/docker/plugins\\fR\nSockets of volume plugins.\n"
      ".SH SEE ALSO\n\\fBdvdcli\\fR(1), \\fBdocker\\-volume\\fR(1)\n";
  return out;
}

std::string DvdcliManPage(const std::string& version) {
  return ManHeading("DVDCLI", "1", version) +
         ".SH NAME\ndvdcli \\- the old volume driver client, as part of dvdi\n"
         ".SH DESCRIPTION\n"
         "Takes the command lines of the volume driver client that Mesos's docker/volume isolator runs, and "
         "does them "
         "through dvdi's policy and ledger.\n"
         ".PP\n.nf\n" +
         TroffText(DvdcliUsage()) +
         ".fi\n"
         ".SH EXIT STATUS\n0, or 1 with one line on standard error.\n"
         ".SH SEE ALSO\n\\fBdvdi\\fR(1)\n";
}

}  // namespace dvdi::cli
