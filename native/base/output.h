// Standard output, where it is to be known whether what was written has arrived. Of a program's main thread.
#ifndef DVDI_BASE_OUTPUT_H_
#define DVDI_BASE_OUTPUT_H_

#include <string_view>

#include "base/status.h"

namespace dvdi {

// Writes the text now, behind what stdio still holds. What fails is told by OutputWritten.
void WriteOutput(std::string_view text);

// Writes what stdio still holds. kSystem where anything since the program began could not be written; OK
// where its reader has gone away (`… | head`), which wanted no more.
Status OutputWritten();

// Whether that reader has been seen to be gone: then nothing more need be written.
bool ReaderHasGone();

}  // namespace dvdi

#endif  // DVDI_BASE_OUTPUT_H_
