#include "fast_calls.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <thread>

#include "hash.h"

namespace rowbank::wire {
namespace {

constexpr std::size_t kKeyBytes = 8;

}  // namespace

bool find_part(const FastTables& tables, std::string_view name, std::string_view keys, std::size_t max_keys,
               FastPart* part) {
  const auto found = tables.find(std::string(name));
  if (found == tables.end() || keys.size() % kKeyBytes != 0 || keys.size() / kKeyBytes > max_keys) {
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

bool is_plain(const Call& call, std::int64_t now_ns) {
  return (call.deadline_ns == 0 || call.deadline_ns > now_ns) &&
         std::all_of(call.metadata.begin(), call.metadata.end(),
                     [](const auto& pair) { return pair.first == "user-agent"; });
}

Answer message_of(std::shared_ptr<char> block, std::size_t size) {
  Answer answer;
  answer.message = {block.get(), size, std::move(block)};
  return answer;
}

void FastCatalog::set(FastTables tables) {
  auto made = std::make_shared<const FastTables>(std::move(tables));
  const std::lock_guard<std::mutex> locked(mutex_);
  tables_.swap(made);
}

std::shared_ptr<const FastTables> FastCatalog::tables() const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return tables_;
}

void FastDoor::close() {
  open_.store(false);
  while (inside_.load() != 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

void FastTimes::note(const std::vector<double>& bounds_s, std::int64_t elapsed_ns) {
  const double elapsed_s = static_cast<double>(elapsed_ns) / 1e9;
  const auto place = std::lower_bound(bounds_s.begin(), bounds_s.end(), elapsed_s) - bounds_s.begin();
  counts[static_cast<std::size_t>(place)].fetch_add(1, std::memory_order_relaxed);
  total_ns.fetch_add(static_cast<std::uint64_t>(elapsed_ns), std::memory_order_relaxed);
}

}  // namespace rowbank::wire
