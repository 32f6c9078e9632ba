// What searches of all indexes take from Python and give to it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "top_search.h"

namespace rowbank::python {

namespace nb = nanobind;

using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bitmaps = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// Keeps the arrays that an index lies over.
struct CodesOwner {
  Matrix vectors;
  Bytes codes;
  Floats scale, error, norm;
};

// The kernel of that name, empty: the widest. Throws std::invalid_argument.
const ScanKernel& kernel_of(const std::string& name);

// Throws std::invalid_argument that names the array.
void check_length(const char* name, std::size_t length, std::size_t expected);

// One call, checked. Keeps what it points to. Throws std::invalid_argument or, for a bonus that is no float32 array,
// nb::type_error.
class Asked {
 public:
  Asked(const Matrix& queries, std::size_t k, const std::optional<Bitmaps>& exclude, const nb::object& bonus,
        std::size_t size, std::size_t dim);

  SearchRequest request() const;

 private:
  void take_bonus(const nb::object& bonus, std::size_t size);

  Matrix queries_;
  std::size_t k_;
  std::optional<Bitmaps> exclude_;
  std::vector<Floats> held_;
  std::vector<const float*> bonus_;
};

template <typename T>
nb::ndarray<nb::numpy, T, nb::ndim<2>, nb::c_contig> own(std::unique_ptr<T[]> data, std::size_t rows,
                                                         std::size_t columns) {
  T* const held = data.get();
  nb::capsule owner(data.release(), [](void* memory) noexcept { delete[] static_cast<T*>(memory); });
  return {held, {rows, columns}, owner};
}

// Runs search(request, positions, scores) without the GIL. Returns positions [B, k] and scores [B, k].
template <typename Search>
nb::tuple answer(const Asked& asked, const Search& search) {
  const SearchRequest request = asked.request();
  const std::size_t cells = request.count * request.k;
  std::unique_ptr<std::int64_t[]> positions(new std::int64_t[cells]);
  std::unique_ptr<float[]> scores(new float[cells]);
  {
    nb::gil_scoped_release nogil;
    search(request, positions.get(), scores.get());
  }
  return nb::make_tuple(own(std::move(positions), request.count, request.k),
                        own(std::move(scores), request.count, request.k));
}

}  // namespace rowbank::python
