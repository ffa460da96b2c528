// The Docker volume plugin protocol over a Driver: JSON in, JSON out. Knows no sockets.
#ifndef DVDI_DRIVER_PROTOCOL_H_
#define DVDI_DRIVER_PROTOCOL_H_

#include <string>
#include <string_view>

#include "driver/server.h"

namespace dvdi {

class Driver;

// Answers one request. Status 200 with "Err":"" where it was done; 500 with Err where the driver
// refuses or fails; 400 with Err where the request is not of the protocol; 404 for an unknown path, 405 for
// anything but POST (GET is answered on /Plugin.Activate). Every body is one line of JSON. Any thread.
HttpReply HandleRequest(Driver& driver, const HttpRequest& request);

// What a request is about, for people: "Mount of volume data".
std::string DescribeRequest(const HttpRequest& request);

}  // namespace dvdi

#endif  // DVDI_DRIVER_PROTOCOL_H_
