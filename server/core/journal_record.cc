#include "journal_record.h"

#include <cstring>
#include <limits>
#include <stdexcept>

#include "crc32c.h"
#include "little_endian.h"

namespace rowbank {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::size_t kCrcBytes = 4;
constexpr std::size_t kHeadBytes = 44;   // Of what every head has,
constexpr std::size_t kTableBytes = 20;  // and of each table.

template <typename Field, typename Number>
void append(std::string* out, Number number, const char* what) {
  if (number > std::numeric_limits<Field>::max()) {
    throw std::length_error(std::string(what) + ": a journal record has no room for " + std::to_string(number));
  }
  append_number(out, static_cast<Field>(number));
}

}  // namespace

std::string pack_record_head(const RecordHead& head) {
  std::size_t size = kHeadBytes + head.client_id.size() + head.answer.size();
  for (const RecordTable& table : head.tables) {
    size += kTableBytes + table.optimizer.size() + table.outcome.size();
  }
  std::string out(kCrcBytes, '\0');
  out.reserve(size);
  append<std::uint8_t>(&out, kFormat, "format");
  append<std::uint8_t>(&out, head.kind, "kind");
  append<std::uint16_t>(&out, head.tables.size(), "tables");
  append<std::uint32_t>(&out, size, "head");
  append<std::uint32_t>(&out, head.body_crc, "checksum");
  append<std::uint32_t>(&out, head.body_bytes, "body");
  append<std::uint32_t>(&out, head.now_s, "time");
  append<std::uint64_t>(&out, head.position, "position");
  append<std::uint64_t>(&out, head.sequence, "sequence");
  append<std::uint16_t>(&out, head.client_id.size(), "client_id");
  append<std::uint16_t>(&out, head.answer.size(), "answer");
  out.append(head.client_id).append(head.answer);
  for (const RecordTable& table : head.tables) {
    append<std::uint32_t>(&out, table.table_id, "table_id");
    append<std::uint32_t>(&out, table.optimizer.size(), "optimizer");
    append<std::uint32_t>(&out, table.outcome.size(), "outcome");
    append<std::uint64_t>(&out, table.step, "step");
    out.append(table.optimizer).append(table.outcome);
  }
  const std::uint32_t crc = crc32c(0, out.data() + kCrcBytes, out.size() - kCrcBytes);
  std::memcpy(out.data(), &crc, sizeof crc);
  return out;
}

}  // namespace rowbank
