// The other end of a connection of the native endpoint: frames of HTTP/2 by hand (RFC 9113, and RFC 7541 for fields).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rowbank::test {

enum Frame : std::uint8_t { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kWindow = 8 };
inline constexpr std::uint8_t kEndStream = 1;
inline constexpr std::uint8_t kEndHeaders = 4;
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string big_endian(std::uint32_t value, int bytes) {
  std::string out;
  for (int byte = bytes - 1; byte >= 0; --byte) out.push_back(static_cast<char>(value >> (8 * byte)));
  return out;
}

inline std::string frame(std::uint8_t kind, std::uint8_t flags, std::uint32_t stream, const std::string& payload) {
  std::string out = big_endian(static_cast<std::uint32_t>(payload.size()), 3);
  out.push_back(static_cast<char>(kind));
  out.push_back(static_cast<char>(flags));
  return out + big_endian(stream, 4) + payload;
}

// A literal field that is not remembered. Name and value are shorter than 127 bytes.
inline std::string field(std::string_view name, std::string_view value) {
  std::string out(1, '\0');
  for (const std::string_view text : {name, value}) {
    out.push_back(static_cast<char>(text.size()));
    out += text;
  }
  return out;
}

inline std::string call_fields(std::string_view path) {
  return field(":method", "POST") + field(":scheme", "http") + field(":path", path) + field(":authority", "a") +
         field("content-type", "application/grpc") + field("te", "trailers");
}

inline std::string message(const std::string& body) {
  return std::string(1, '\0') + big_endian(static_cast<std::uint32_t>(body.size()), 4) + body;
}

// A whole call, as it goes over the wire.
inline std::string call(std::uint32_t stream, std::string_view path, const std::string& body) {
  return frame(kHeaders, kEndHeaders, stream, call_fields(path)) + frame(kData, kEndStream, stream, message(body));
}

}  // namespace rowbank::test
