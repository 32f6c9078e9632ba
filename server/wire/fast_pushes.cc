#include "fast_pushes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>

#include "crc32c.h"
#include "message.h"
#include "utf8.h"

namespace rowbank::wire {
namespace {

constexpr std::size_t kMostTables = 64;
constexpr std::size_t kLongestAnswer = 1024;
constexpr std::size_t kLongestClientId = 256;  // Bytes; of characters there may be as many.
constexpr std::size_t kCountBytes = 4;
constexpr double kOnTheWayS = 0.05;  // As NativeContext has it.

class Passing {
 public:
  Passing(MutationGate* gate, bool leaves_record)
      : gate_(gate), inside_(leaves_record ? gate->try_enter() : gate->try_enter_unfollowed()) {}
  ~Passing() {
    if (inside_) {
      gate_->leave();
    }
  }
  Passing(const Passing&) = delete;
  Passing& operator=(const Passing&) = delete;
  bool inside() const { return inside_; }

 private:
  MutationGate* const gate_;
  const bool inside_;
};

bool is_override(const std::optional<float>& value) {
  return !value || (std::isfinite(*value) && *value >= 0);
}

void append_varint(std::string* out, std::uint64_t value) {
  for (; value > 0x7F; value >>= 7) {
    out->push_back(static_cast<char>((value & 0x7F) | 0x80));
  }
  out->push_back(static_cast<char>(value));
}

// A PushResponse of steps alone.
std::string answer_of(const std::vector<std::uint64_t>& steps) {
  std::string packed;
  for (const std::uint64_t step : steps) {
    append_varint(&packed, step);
  }
  if (packed.empty()) {
    return packed;
  }
  std::string answer(1, static_cast<char>(2 << 3 | 2));
  append_varint(&answer, packed.size());
  return answer + packed;
}

}  // namespace

struct FastPushes::Part : FastPart {
  std::string_view gradients_column;
  std::string_view counts_column;
  ValuesIn gradients{DType::kFloat32, nullptr};
  const std::uint32_t* counts = nullptr;
  PushRequest request;
};

struct FastPushes::Push {
  std::vector<Part> parts;
  std::string client_id;  // Empty: nobody sends it again.
  std::uint64_t sequence = 0;
  std::uint64_t wire_dtype = 0;
  std::vector<std::shared_ptr<char>> copies;  // Of columns that were not aligned.
  std::string answer;
  std::shared_ptr<UnderWay> under_way;
  std::shared_ptr<JournalEntry> entry;  // Null: it left no record.
};
static_assert(kMostTables * 10 + 16 <= kLongestAnswer, "a step takes ten bytes at most");

FastPushes::FastPushes(std::vector<double> bounds_s, std::size_t max_keys, int most_at_once, PushPasses passes,
                       PushWaits* waits)
    : bounds_s_(std::move(bounds_s)), max_keys_(max_keys), passes_(passes), waits_(waits), door_(most_at_once) {}

std::optional<Answer> FastPushes::answer(const Call& call) {
  const std::int64_t began = steady_ns();
  Push push;
  std::shared_ptr<char> block;
  bool answered = false;
  if (const FastDoor::Visit visit(&door_); visit.inside() && is_plain(call, began)) {
    try {
      const std::shared_ptr<const FastTables> known = catalog_.tables();
      if (read({call.body.data, call.body_bytes}, *known, &push)) {
        block = answers_.take(kLongestAnswer);  // Not once rows are changed.
        answered = this->push(&push, call);
      }
    } catch (const std::exception&) {
      answered = false;  // Before anything was changed. Most likely there is no memory; the other way says so.
    }
  }
  lately_.store(answered, std::memory_order_relaxed);
  if (!answered) {
    return std::nullopt;
  }
  if (push.entry != nullptr) {
    if (std::optional<Answer> refusal = wait(call, push.entry)) {
      return refusal;
    }
  }
  std::memcpy(block.get(), push.answer.data(), push.answer.size());
  times_.note(bounds_s_, steady_ns() - began);
  return message_of(std::move(block), push.answer.size());
}

bool FastPushes::read(std::string_view body, const FastTables& known, Push* push) const {
  bool has_id = false;
  FieldReader request(body.data(), body.size());
  while (request.next()) {
    if (request.number() == 2 && request.is_varint()) {
      push->wire_dtype = request.value();
    } else if (request.number() == 1 && request.is_bytes() && push->parts.size() < kMostTables) {
      if (!read_part(request.bytes(), known, &push->parts.emplace_back())) {
        return false;
      }
    } else if (request.number() == 3 && request.is_bytes() && !has_id) {
      has_id = true;
      FieldReader id(request.bytes().data(), request.bytes().size());
      while (id.next()) {
        if (id.number() == 1 && id.is_bytes()) {
          push->client_id = id.bytes();
        } else if (id.number() == 2 && id.is_varint()) {
          push->sequence = id.value();
        } else {
          return false;
        }
      }
      if (id.odd()) {
        return false;
      }
    } else {
      return false;
    }
  }
  return !request.odd() && push->client_id.size() <= kLongestClientId && is_utf8(push->client_id);
}

bool FastPushes::read_part(std::string_view bytes, const FastTables& known, Part* part) const {
  std::string_view name;
  std::string_view keys;
  part->request.step = 0;  // The next.
  FieldReader table(bytes.data(), bytes.size());
  while (table.next()) {
    const std::uint32_t number = table.number();
    if (table.is_bytes() && number <= 4) {
      (number == 1   ? name
       : number == 2 ? keys
       : number == 3 ? part->gradients_column
                     : part->counts_column) = table.bytes();
    } else if (table.is_varint() && number == 5) {
      part->request.step = table.value();
    } else if (table.is_float() && number >= 6 && number <= 8) {
      PushOverrides& overrides = part->request.overrides;
      (number == 6   ? overrides.learning_rate
       : number == 7 ? overrides.clip_value
                     : overrides.max_norm) = table.four_as_float();
    } else {
      return false;
    }
  }
  return !table.odd() && find_part(known, name, keys, max_keys_, part) && part->table->steps != nullptr;
}

const char* FastPushes::aligned(std::string_view column, std::size_t item, Push* push) {
  if (reinterpret_cast<std::uintptr_t>(column.data()) % item == 0) {
    return column.data();
  }
  push->copies.push_back(columns_.take(column.size()));
  std::memcpy(push->copies.back().get(), column.data(), column.size());
  return push->copies.back().get();
}

bool FastPushes::check(Part* part, DType dtype, Push* push) {
  const std::size_t rows = part->keys.size();
  const std::size_t item = dtype_bytes(dtype);
  if (part->gradients_column.size() != rows * part->dim() * item ||
      (!part->counts_column.empty() && part->counts_column.size() != rows * kCountBytes)) {
    return false;
  }
  const PushOverrides& overrides = part->request.overrides;
  if (!is_override(overrides.learning_rate) || !is_override(overrides.clip_value) || !is_override(overrides.max_norm)) {
    return false;
  }
  part->gradients = {dtype, rows == 0 ? nullptr : aligned(part->gradients_column, item, push)};
  if (!part->counts_column.empty()) {
    part->counts = reinterpret_cast<const std::uint32_t*>(aligned(part->counts_column, kCountBytes, push));
  }
  return rows == 0 || all_finite(dtype, part->gradients.data, rows * part->dim());
}

bool FastPushes::has_room(const Push& push) const {
  const std::int64_t room = room_.load(std::memory_order_relaxed);
  return room >= 0 && std::all_of(push.parts.begin(), push.parts.end(), [&](const Part& part) {
           return part.table->rows->growth_bytes(part.keys.size()) <= static_cast<std::uint64_t>(room);
         });
}

bool FastPushes::check(Push* push) {
  const std::optional<DType> dtype = dtype_of(push->wire_dtype);
  if (!dtype || dtype == DType::kInt8) {
    return false;
  }
  std::size_t keys = 0;
  for (auto part = push->parts.begin(); part != push->parts.end(); ++part) {
    const bool twice = std::any_of(push->parts.begin(), part, [&](const Part& one) { return one.name == part->name; });
    if (twice || !check(&*part, *dtype, push)) {
      return false;
    }
    keys += part->keys.size();
  }
  return keys <= max_keys_ && has_room(*push);
}

bool FastPushes::push(Push* push, const Call& call) {
  if (!check(push)) {
    return false;
  }
  const bool leaves_record =
      std::any_of(push->parts.begin(), push->parts.end(), [](const Part& part) { return part.table->leaves_record; });
  const Passing passing(passes_.gate, leaves_record);
  return passing.inside() && (leaves_record ? push_journaled(push, call) : push_relaxed(push));
}

bool FastPushes::enter(Push* push) {
  if (push->client_id.empty()) {
    return true;
  }
  Entered entered = passes_.window->enter(push->client_id, push->sequence, passes_.kind);
  if (entered.known == Known::kNew) {
    push->under_way = std::move(entered.under_way);
  }
  return entered.known == Known::kNew;
}

bool FastPushes::push_relaxed(Push* push) {
  if (!enter(push)) {
    return false;
  }
  try {
    take_steps(push);
    apply(push, 0);
    complete(push);
  } catch (...) {
    if (push->under_way != nullptr) {
      passes_.window->fail(*push->under_way);
    }
    throw;
  }
  return true;
}

void FastPushes::complete(Push* push) {
  try {
    if (push->under_way != nullptr) {
      passes_.window->complete(*push->under_way, push->answer);
    }
  } catch (const std::exception&) {
    throw Broken();
  }
}

bool FastPushes::push_journaled(Push* push, const Call& call) {
  RecordOf of;
  of.body = {call.body.data, call.body_bytes, call.body.owner, call.body.is_python};
  of.body_crc = crc32c(0, call.body.data, call.body_bytes);  // Before any lock is taken.
  std::vector<const FastTable*> tables;
  for (const Part& part : push->parts) {
    tables.push_back(part.table);
  }
  const TableLocks locked(std::move(tables));
  // What a table admits by count is for the record to say; it changes under the lock.
  if (!passes_.journal->may_begin() ||
      std::any_of(push->parts.begin(), push->parts.end(),
                  [](const Part& part) { return part.table->rows->min_count() > 1; }) ||
      !enter(push)) {
    return false;
  }
  try {
    take_steps(push);
    std::vector<RecordPart> parts;
    for (const Part& part : push->parts) {
      parts.push_back({part.table, part.request.step});
    }
    of.now_s = push->parts.front().request.now;  // That of all.
    of.client_id = push->client_id;
    of.sequence = push->under_way == nullptr ? 0 : push->sequence;
    of.answer = push->answer;
    of.under_way = push->under_way;
    push->entry = record(passes_, parts, std::move(of));
  } catch (...) {
    if (push->under_way != nullptr) {
      passes_.window->fail(*push->under_way);
    }
    throw;
  }
  const double began_s = thread_s();  // What it took beside others says nothing of a replay, which is alone.
  try {
    apply(push, push->entry->position);
  } catch (const Broken&) {  // A replay will repeat it.
    passes_.journal->applied(push->entry, 0);
    throw;
  }
  passes_.journal->applied(push->entry, thread_s() - began_s);
  return true;
}

std::optional<Answer> FastPushes::wait(const Call& call, const std::shared_ptr<JournalEntry>& entry) {
  double left_s = passes_.journal->limits().wait_s;
  if (call.deadline_ns != 0) {
    const double until_s = static_cast<double>(call.deadline_ns - steady_ns()) / 1e9;
    left_s = std::min(left_s, until_s - std::min(kOnTheWayS, until_s / 10));
  }
  if (passes_.journal->wait(entry, 0)) {
    return std::nullopt;
  }
  waits_->before_wait();
  return passes_.journal->wait(entry, left_s) ? std::nullopt : waits_->unconfirmed(call, entry);
}

void FastPushes::take_steps(Push* push) {
  const std::uint32_t now = now_s();
  std::vector<std::uint64_t> steps;
  steps.reserve(push->parts.size());
  for (Part& part : push->parts) {
    part.request.now = now;
    part.request.step = part.table->steps->next(part.request.step);
    steps.push_back(part.request.step);
  }
  push->answer = answer_of(steps);
}

void FastPushes::apply(Push* push, std::uint64_t position) {
  try {
    for (Part& part : push->parts) {
      part.request.position = position;
      part.table->rows->push({part.keys.data(), part.keys.size()}, part.gradients, part.counts, part.request);
    }
  } catch (const std::exception&) {
    throw Broken();
  }
}

}  // namespace rowbank::wire
