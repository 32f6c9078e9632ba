#include "common_row.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "crc32c.h"

namespace rowbank {
namespace {

constexpr std::uint32_t kFormat = 1;
constexpr std::size_t kHeader = 8;

}  // namespace

CommonRow::CommonRow(std::vector<float> values, const Optimizer& optimizer) {
  reset(std::move(values), optimizer);
}

void CommonRow::reset(std::vector<float> values, const Optimizer& optimizer) {
  const std::lock_guard lock(mutex_);
  values_ = std::move(values);
  slots_.resize(optimizer.slot_width(values_.size()));
  optimizer.fill_initial_slots(slots_.data(), values_.size());
  dirty_ = false;
}

void CommonRow::read(float* out) const {
  const std::lock_guard lock(mutex_);
  std::copy(values_.begin(), values_.end(), out);
}

void CommonRow::apply(const UpdatePlan& plan, float* gradient_sum) {
  clip_gradient(plan, gradient_sum, values_.size());
  const std::lock_guard lock(mutex_);
  plan.update(plan.params, values_.data(), slots_.data(), gradient_sum, values_.size());
  dirty_ = true;
}

std::optional<std::vector<char>> CommonRow::take_dirty() {
  const std::lock_guard lock(mutex_);
  if (!dirty_) {
    return std::nullopt;
  }
  dirty_ = false;
  return packed();
}

std::vector<char> CommonRow::pack() const {
  const std::lock_guard lock(mutex_);
  return packed();
}

std::vector<char> CommonRow::packed() const {
  const std::size_t value_bytes = values_.size() * sizeof(float);
  const std::size_t slot_bytes = slots_.size() * sizeof(float);
  std::vector<char> packed(kHeader + value_bytes + slot_bytes);
  std::memcpy(packed.data(), &kFormat, sizeof kFormat);
  std::memcpy(packed.data() + kHeader, values_.data(), value_bytes);
  if (slot_bytes > 0) {
    std::memcpy(packed.data() + kHeader + value_bytes, slots_.data(), slot_bytes);
  }
  const std::uint32_t crc = crc32c(0, packed.data() + kHeader, packed.size() - kHeader);
  std::memcpy(packed.data() + 4, &crc, sizeof crc);
  return packed;
}

void CommonRow::mark_dirty() {
  const std::lock_guard lock(mutex_);
  dirty_ = true;
}

void CommonRow::load(const char* packed, std::size_t size) {
  const std::lock_guard lock(mutex_);
  const std::size_t value_bytes = values_.size() * sizeof(float);
  const std::size_t slot_bytes = slots_.size() * sizeof(float);
  const std::size_t expected = kHeader + value_bytes + slot_bytes;
  if (size != expected) {
    throw std::invalid_argument("common row: expected " + std::to_string(expected) + " bytes, got " +
                                std::to_string(size));
  }
  std::uint32_t format;
  std::uint32_t crc;
  std::memcpy(&format, packed, sizeof format);
  std::memcpy(&crc, packed + 4, sizeof crc);
  if (format != kFormat || crc != crc32c(0, packed + kHeader, size - kHeader)) {
    throw std::invalid_argument("common row: the checksum or the format does not match; the stored bytes are damaged");
  }
  std::memcpy(values_.data(), packed + kHeader, value_bytes);
  if (slot_bytes > 0) {
    std::memcpy(slots_.data(), packed + kHeader + value_bytes, slot_bytes);
  }
  dirty_ = false;
}

}  // namespace rowbank
