#include "engine/operation_json.h"

namespace dvdi {

Json OperationToJson(const OperationRow& o) {
  return {{"version", 1},
          {"owner", o.owner},
          {"scope", o.scope},
          {"operation", o.id},
          {"boot_id", o.boot_id},
          {"started_ms", o.started_ms},
          {"process",
           {{"pid", o.pid},
            {"start_time", o.start_time},
            {"mount_namespace", o.mount_namespace},
            {"pid_namespace", o.pid_namespace}}}};
}

OperationRow OperationFromJson(const Json& j) {
  OperationRow o;
  o.owner = GetString(j, "owner"), o.scope = GetString(j, "scope"), o.id = GetString(j, "operation");
  o.boot_id = GetString(j, "boot_id"), o.started_ms = GetInt(j, "started_ms");
  const Json& process = GetMember(j, "process");
  o.pid = static_cast<pid_t>(GetInt(process, "pid"));
  o.start_time = static_cast<uint64_t>(GetInt(process, "start_time"));
  o.mount_namespace = static_cast<uint64_t>(GetInt(process, "mount_namespace"));
  o.pid_namespace = static_cast<uint64_t>(GetInt(process, "pid_namespace"));
  return o;
}

}  // namespace dvdi
