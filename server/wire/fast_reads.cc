#include "fast_reads.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <exception>
#include <thread>

#include "hash.h"
#include "message.h"

namespace rowbank::wire {
namespace {

constexpr std::size_t kKeyBytes = 8;
constexpr std::size_t kNestedLengthBytes = 5;  // Of a table in a pull's answer, laid out before it is known.
constexpr std::size_t kMostTables = 64;
constexpr std::size_t kMostAnswerBytes = std::size_t{32} << 20;

// As DataType numbers them on the wire.
std::optional<DType> dtype_of(std::uint64_t wire_dtype) {
  switch (wire_dtype) {
    case 0:
    case 1:
      return DType::kFloat32;
    case 2:
      return DType::kFloat16;
    case 3:
      return DType::kBFloat16;
    case 4:
      return DType::kInt8;
    default:
      return std::nullopt;
  }
}

std::uint32_t now_s() {
  return static_cast<std::uint32_t>(std::time(nullptr));
}

// Whether what the caller sent along changes nothing.
bool is_plain(const Pairs& metadata) {
  return std::all_of(metadata.begin(), metadata.end(), [](const auto& pair) { return pair.first == "user-agent"; });
}

Answer message_of(std::shared_ptr<char> block, std::size_t size) {
  Answer answer;
  answer.message = {block.get(), size, std::move(block)};
  return answer;
}

}  // namespace

struct FastReads::Part {
  std::string_view name;
  const FastTable* table = nullptr;
  std::vector<std::int64_t> keys;

  std::size_t dim() const { return table->rows->options().dim; }
};

FastReads::FastReads(std::vector<double> bounds_s, std::size_t max_keys, int most_at_once)
    : bounds_s_(std::move(bounds_s)),
      max_keys_(max_keys),
      most_at_once_(most_at_once),
      tables_(std::make_shared<const FastTables>()) {}

void FastReads::set_tables(FastTables tables) {
  auto made = std::make_shared<const FastTables>(std::move(tables));
  const std::lock_guard<std::mutex> locked(mutex_);
  tables_.swap(made);
}

std::shared_ptr<const FastTables> FastReads::tables() const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return tables_;
}

void FastReads::close() {
  open_.store(false);
  while (inside_.load() != 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

std::optional<Answer> FastReads::answer(FastMethod method, const Call& call) {
  const std::int64_t began = now_ns();
  if (method == FastMethod::kNone || !is_plain(call.metadata) || (call.deadline_ns != 0 && call.deadline_ns <= began)) {
    return std::nullopt;
  }
  std::optional<Answer> answer;
  // Counted first and then looked at, as `close` does it the other way round.
  if (inside_.fetch_add(1) < most_at_once_ && open_.load()) {
    try {
      const std::string_view body(call.body.data, call.body_bytes);
      answer = method == FastMethod::kPull ? pull(body) : lookup(body);
    } catch (const std::exception&) {
      answer.reset();  // Most likely there is no memory; the other way says so.
    }
  }
  inside_.fetch_sub(1);
  if (answer) {
    note(method, now_ns() - began);
  }
  return answer;
}

void FastReads::note(FastMethod method, std::int64_t elapsed_ns) {
  FastTimes& times = times_[static_cast<std::size_t>(method)];
  const double elapsed_s = static_cast<double>(elapsed_ns) / 1e9;
  const auto place = std::lower_bound(bounds_s_.begin(), bounds_s_.end(), elapsed_s) - bounds_s_.begin();
  times.counts[static_cast<std::size_t>(place)].fetch_add(1, std::memory_order_relaxed);
  times.total_ns.fetch_add(static_cast<std::uint64_t>(elapsed_ns), std::memory_order_relaxed);
}

bool FastReads::find(const FastTables& tables, std::string_view name, std::string_view keys, Part* part) const {
  const auto found = tables.find(std::string(name));
  if (found == tables.end() || keys.size() % kKeyBytes != 0 || keys.size() / kKeyBytes > max_keys_) {
    return false;
  }
  part->name = name;
  part->table = &found->second;
  part->keys.resize(keys.size() / kKeyBytes);
  if (!keys.empty()) {
    std::memcpy(part->keys.data(), keys.data(), keys.size());
  }
  if (part->table->owns_all) {
    return true;
  }
  const std::uint32_t bucket_count = part->table->rows->options().bucket_count;
  return std::all_of(part->keys.begin(), part->keys.end(), [&](std::int64_t key) {
    const std::uint32_t bucket = bucket_of_hash(hash_key(key), bucket_count);
    return part->table->first_bucket <= bucket && bucket < part->table->end_bucket;
  });
}

std::optional<Answer> FastReads::pull(std::string_view body) {
  const std::shared_ptr<const FastTables> known = tables();
  std::vector<Part> parts;
  std::uint64_t wire_dtype = 0;
  FieldReader request(body.data(), body.size());
  while (request.next()) {
    if (request.number() == 2 && !request.is_bytes()) {
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
      if (table.odd() || !find(*known, name, keys, &parts.emplace_back())) {
        return std::nullopt;
      }
    } else {
      return std::nullopt;
    }
  }
  const std::optional<DType> dtype = dtype_of(wire_dtype);
  std::size_t count = 0;
  for (const Part& part : parts) {
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
    for (const Part& part : parts) {
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
  const std::shared_ptr<const FastTables> known = tables();
  std::string_view name;
  std::string_view keys;
  std::uint64_t wire_dtype = 0;
  FieldReader request(body.data(), body.size());
  while (request.next()) {
    if (request.number() == 3 && !request.is_bytes()) {
      wire_dtype = request.value();
    } else if (request.is_bytes() && request.number() <= 2) {
      (request.number() == 1 ? name : keys) = request.bytes();
    } else {
      return std::nullopt;  // With metadata, or something newer.
    }
  }
  Part part;
  const std::optional<DType> dtype = dtype_of(wire_dtype);
  if (request.odd() || !dtype || !find(*known, name, keys, &part)) {
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
