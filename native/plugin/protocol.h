// The JSON of the volume plugin protocol: what is sent, and what the many ways of answering mean.
#ifndef DVDI_PLUGIN_PROTOCOL_H_
#define DVDI_PLUGIN_PROTOCOL_H_

#include <string>

#include "base/status.h"
#include "plugin/client.h"

namespace dvdi {

// "/VolumeDriver.Get"; "/Plugin.Activate".
std::string MethodPath(Method method);
// kInvalid for a call that must not be sent: a volume's name or an option that is empty or not
// printable UTF-8, Mount or Unmount without an ID.
Status CheckCall(const Call& call);
// The body for a call that CheckCall accepts; ends in a line feed.
std::string CallBody(const Call& call);
// What a whole HTTP response says (kOk, kError, or kUnknown with "not-json" or "malformed").
Answer ReadAnswer(const Call& call, const PluginReply& reply);

}  // namespace dvdi

#endif  // DVDI_PLUGIN_PROTOCOL_H_
