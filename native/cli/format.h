// --format: the part of Go's templates that people use with docker and podman (docs/cli.md says which).
#ifndef DVDI_CLI_FORMAT_H_
#define DVDI_CLI_FORMAT_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace dvdi::cli {

// A template that was read. Texts that values become are cleaned: no control character reaches a terminal.
class Format {
 public:
  // kInvalid, naming what is not understood, for a template that is wrong or uses what is not supported.
  // "json" alone is `{{json .}}`; `table TEMPLATE` has a header and columns, parted by tabs.
  static Result<Format> Parse(std::string_view text);

  bool table() const { return table_; }
  // One object of Go-like members (cli/view.h), without a line feed. kInvalid for a member that is not there.
  Result<std::string> Apply(const Json& value) const;
  // What stands over the columns: the members' names in capitals.
  std::string Header() const;

 private:
  // A value, or a function of values.
  struct Node {
    enum class Kind { kField, kText, kNumber, kCall } kind = Kind::kField;
    std::vector<std::string> path;  // kField; empty for `.`
    std::string text;               // kText; the function's name of kCall
    int64_t number = 0;             // kNumber
    std::vector<Node> arguments;    // kCall
  };
  struct Piece {
    bool action = false;
    std::string literal;
    Node node;
  };
  class Reader;
  static Result<Json> Evaluate(const Node& node, const Json& value);
  static Result<Json> CallFunction(const Node& node, const Json& value);

  bool table_ = false;
  std::vector<Piece> pieces_;
};

// A value as a template prints it: text as it is, numbers, true and false; lists and objects as JSON.
std::string TextOfValue(const Json& value);

// All rows through the template, a line each; `table` ones with their header, in columns.
Result<std::string> FormatRows(const Format& format, const Json& rows);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_FORMAT_H_
