// CRC-32C (Castagnoli, reflected, initial and final inversion), as in RFC 3720. Picks the CPU's instruction at run
// time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rowbank {

// Extends `crc` (0 for a fresh checksum) by `size` bytes, so that crc32c(crc32c(0, a), b) is the checksum of a then b.
std::uint32_t crc32c(std::uint32_t crc, const void* data, std::size_t size);

// The table-driven version, whatever the CPU: the judge of the fast one in tests.
std::uint32_t crc32c_portable(std::uint32_t crc, const void* data, std::size_t size);

}  // namespace rowbank
