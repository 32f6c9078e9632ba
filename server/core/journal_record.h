// The head of one journal record, format 1; docs/journal.md has the grammar. The body follows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rowbank {

struct RecordTable {
  std::uint32_t table_id = 0;
  std::string_view optimizer;  // Serialized.
  std::string_view outcome;
  std::uint64_t step = 0;
};

struct RecordHead {
  std::uint8_t kind = 0;
  std::uint64_t position = 0;
  std::uint32_t now_s = 0;
  std::uint64_t sequence = 0;
  std::string_view client_id;
  std::string_view answer;
  std::vector<RecordTable> tables;
  std::size_t body_bytes = 0;
  std::uint32_t body_crc = 0;  // CRC-32C.
};

// Throws std::length_error where a length does not go into its field.
std::string pack_record_head(const RecordHead& head);

}  // namespace rowbank
