#include "fast_reads.h"

#include <algorithm>
#include <exception>

#include "message.h"

namespace rowbank::wire {
namespace {

constexpr std::size_t kNestedLengthBytes = 5;  // Of a table in a pull's answer, laid out before it is known.
constexpr std::size_t kMostTables = 64;
constexpr std::size_t kMostAnswerBytes = std::size_t{32} << 20;

}  // namespace

FastReads::FastReads(std::vector<double> bounds_s, std::size_t max_keys, int most_at_once)
    : bounds_s_(std::move(bounds_s)), max_keys_(max_keys), door_(most_at_once) {}

std::optional<Answer> FastReads::answer(FastMethod method, const Call& call) {
  const std::int64_t began = steady_ns();
  if ((method != FastMethod::kPull && method != FastMethod::kLookup) || !is_plain(call, began)) {
    return std::nullopt;
  }
  std::optional<Answer> answer;
  if (const FastDoor::Visit visit(&door_); visit.inside()) {
    try {
      const std::string_view body(call.body.data, call.body_bytes);
      answer = method == FastMethod::kPull ? pull(body) : lookup(body);
    } catch (const std::exception&) {
      answer.reset();  // Most likely there is no memory; the other way says so.
    }
  }
  if (answer) {
    times_[static_cast<std::size_t>(method)].note(bounds_s_, steady_ns() - began);
  }
  return answer;
}

std::optional<Answer> FastReads::pull(std::string_view body) {
  const std::shared_ptr<const FastTables> known = catalog_.tables();
  std::vector<FastPart> parts;
  std::uint64_t wire_dtype = 0;
  FieldReader request(body.data(), body.size());
  while (request.next()) {
    if (request.number() == 2 && request.is_varint()) {
      wire_dtype = request.value();
    } else if (request.number() == 1 && request.is_bytes() && parts.size() < kMostTables) {
      std::string_view name;
      std::string_view keys;
      FieldReader table(request.bytes().data(), request.bytes().size());
      while (table.next()) {
        if (!table.is_bytes() || table.number() > 2) {
          return std::nullopt;
        }
        (table.number() == 1 ? name : keys) = table.bytes();
      }
      if (table.odd() || !find_part(*known, name, keys, max_keys_, &parts.emplace_back())) {
        return std::nullopt;
      }
    } else {
      return std::nullopt;
    }
  }
  const std::optional<DType> dtype = dtype_of(wire_dtype);
  std::size_t count = 0;
  for (const FastPart& part : parts) {
    count += part.keys.size();
  }
  if (request.odd() || !dtype || count > max_keys_) {
    return std::nullopt;
  }
  // Laid out twice: first to know its size.
  std::shared_ptr<char> block;
  std::size_t size = 0;
  for (const bool counting : {true, false}) {
    FieldWriter answer(counting ? nullptr : block.get());
    for (const FastPart& part : parts) {
      const std::size_t rows = part.keys.size();
      const std::size_t values = rows * row_bytes(*dtype, part.dim());
      const std::size_t start = answer.size() + 1 + kNestedLengthBytes;
      // The table's length, from a writer that counts from where the table will start.
      FieldWriter counted(nullptr);
      counted.skip(start);
      counted.header(1, part.name.size());
      counted.skip(part.name.size());
      counted.aligned_column(2, values, 3);
      counted.column(3, rows);
      answer.header(1, counted.size() - start, kNestedLengthBytes);
      answer.header(1, part.name.size());
      answer.bytes(part.name);
      char* into = answer.aligned_column(2, values, 3);
      char* status = answer.column(3, rows);
      if (!counting && rows > 0) {
        part.table->rows->pull({part.keys.data(), rows}, {*dtype, into}, reinterpret_cast<std::uint8_t*>(status),
                               now_s());
      }
    }
    if (counting) {
      size = answer.size();
      if (size > kMostAnswerBytes) {
        return std::nullopt;
      }
      block = blocks_.take(std::max<std::size_t>(size, 1));
    }
  }
  return message_of(std::move(block), size);
}

std::optional<Answer> FastReads::lookup(std::string_view body) {
  const std::shared_ptr<const FastTables> known = catalog_.tables();
  std::string_view name;
  std::string_view keys;
  std::uint64_t wire_dtype = 0;
  FieldReader request(body.data(), body.size());
  while (request.next()) {
    if (request.number() == 3 && request.is_varint()) {
      wire_dtype = request.value();
    } else if (request.is_bytes() && request.number() <= 2) {
      (request.number() == 1 ? name : keys) = request.bytes();
    } else {
      return std::nullopt;  // With metadata, or something newer.
    }
  }
  FastPart part;
  const std::optional<DType> dtype = dtype_of(wire_dtype);
  if (request.odd() || !dtype || !find_part(*known, name, keys, max_keys_, &part)) {
    return std::nullopt;
  }
  const std::size_t rows = part.keys.size();
  const std::size_t values = rows * row_bytes(*dtype, part.dim());
  FieldWriter counted(nullptr);
  counted.aligned_column(1, values, 2);
  counted.column(2, rows);
  if (counted.size() > kMostAnswerBytes) {
    return std::nullopt;
  }
  std::shared_ptr<char> block = blocks_.take(std::max<std::size_t>(counted.size(), 1));
  FieldWriter answer(block.get());
  char* into = answer.aligned_column(1, values, 2);
  char* found = answer.column(2, rows);
  if (rows > 0) {
    part.table->rows->lookup({part.keys.data(), rows}, {*dtype, into}, reinterpret_cast<std::uint8_t*>(found), nullptr,
                             nullptr);
  }
  return message_of(std::move(block), answer.size());
}

}  // namespace rowbank::wire
