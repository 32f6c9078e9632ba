#include "search_arrays.h"

#include <stdexcept>

namespace rowbank::python {

const ScanKernel& kernel_of(const std::string& name) {
  const ScanKernel* kernel = name.empty() ? &scan_kernel() : scan_kernel_named(name.c_str());
  if (kernel == nullptr) throw std::invalid_argument("this CPU or build has no scan kernel '" + name + "'");
  return *kernel;
}

void check_length(const char* name, std::size_t length, std::size_t expected) {
  if (length == expected) return;
  throw std::invalid_argument(std::string(name) + " must have length " + std::to_string(expected) + ", got " +
                              std::to_string(length));
}

Asked::Asked(const Matrix& queries, std::size_t k, const std::optional<Bitmaps>& exclude, const nb::object& bonus,
             std::size_t size, std::size_t dim)
    : queries_(queries), k_(k), exclude_(exclude) {
  const std::size_t count = queries.shape(0);
  if (queries.shape(1) != dim) {
    throw std::invalid_argument("queries have dim " + std::to_string(queries.shape(1)) + ", the index has " +
                                std::to_string(dim));
  }
  const std::size_t bytes = (size + 7) / 8;
  if (exclude && ((exclude->shape(0) != count && exclude->shape(0) != 1) || exclude->shape(1) != bytes)) {
    throw std::invalid_argument("exclude must be [" + std::to_string(count) + ", " + std::to_string(bytes) +
                                "]: one bitmap per query, one bit per vector; or [1, " + std::to_string(bytes) +
                                "], the same for all");
  }
  if (!bonus.is_none()) take_bonus(bonus, size);
}

void Asked::take_bonus(const nb::object& bonus, std::size_t size) {
  for (nb::handle one : bonus) {
    if (one.is_none()) {
      bonus_.push_back(nullptr);
      continue;
    }
    Floats values;
    if (!nb::try_cast<Floats>(one, values, false)) {
      throw nb::type_error("a query's bonus must be a contiguous float32 array of one dimension, or None");
    }
    check_length("bonus", values.shape(0), size);
    held_.push_back(values);
    bonus_.push_back(values.data());
  }
  if (bonus_.size() != queries_.shape(0)) {
    throw std::invalid_argument("bonus must have one entry per query: " + std::to_string(queries_.shape(0)) + ", got " +
                                std::to_string(bonus_.size()));
  }
}

SearchRequest Asked::request() const {
  SearchRequest request{queries_.data(), queries_.shape(0), k_};
  if (exclude_) {
    request.exclude = exclude_->data();
    request.exclude_stride = exclude_->shape(0) == request.count ? exclude_->shape(1) : 0;
  }
  if (!bonus_.empty()) request.bonus = bonus_.data();
  return request;
}

}  // namespace rowbank::python
