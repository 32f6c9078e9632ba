// FlatIndex for Python. Arrays must have the exact type and be contiguous; nothing is converted silently.
#include "flat_index.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "bind.h"

namespace nb = nanobind;

namespace rowbank::python {
namespace {

using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Bitmaps = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Result = nb::ndarray<nb::numpy, T, nb::ndim<2>, nb::c_contig>;

template <typename T>
Result<T> own(std::unique_ptr<T[]> data, std::size_t rows, std::size_t columns) {
  T* const held = data.get();
  nb::capsule owner(data.release(), [](void* memory) noexcept { delete[] static_cast<T*>(memory); });
  return Result<T>(held, {rows, columns}, owner);
}

std::unique_ptr<FlatIndex> make(const Matrix& vectors, const std::string& kernel) {
  const ScanKernel* chosen = kernel.empty() ? &scan_kernel() : scan_kernel_named(kernel.c_str());
  if (chosen == nullptr) throw std::invalid_argument("this CPU or build has no scan kernel '" + kernel + "'");
  nb::gil_scoped_release nogil;
  return std::make_unique<FlatIndex>(vectors.data(), vectors.shape(0), vectors.shape(1), *chosen);
}

nb::tuple search(const FlatIndex& index, const Matrix& queries, std::size_t k, const std::optional<Bitmaps>& exclude) {
  const std::size_t count = queries.shape(0);
  if (queries.shape(1) != index.dim()) {
    throw std::invalid_argument("queries have dim " + std::to_string(queries.shape(1)) + ", the index has " +
                                std::to_string(index.dim()));
  }
  const std::size_t bytes = (index.size() + 7) / 8;
  if (exclude && (exclude->shape(0) != count || exclude->shape(1) != bytes)) {
    throw std::invalid_argument("exclude must be [" + std::to_string(count) + ", " + std::to_string(bytes) +
                                "]: one bitmap per query, one bit per vector");
  }
  std::unique_ptr<std::int64_t[]> positions(new std::int64_t[count * k]);
  std::unique_ptr<float[]> scores(new float[count * k]);
  {
    nb::gil_scoped_release nogil;
    index.search(queries.data(), count, k, exclude ? exclude->data() : nullptr, bytes, positions.get(), scores.get());
  }
  return nb::make_tuple(own(std::move(positions), count, k), own(std::move(scores), count, k));
}

// A view of the index's own vectors that keeps the index alive.
nb::ndarray<nb::numpy, const float, nb::ndim<2>, nb::c_contig> vectors(nb::handle_t<FlatIndex> self) {
  const auto& index = nb::cast<const FlatIndex&>(self);
  return {index.vectors(), {index.size(), index.dim()}, self};
}

}  // namespace

void bind_flat_index(nb::module_& module) {
  nb::class_<FlatIndex>(module, "FlatIndex")
      .def(nb::new_(&make), nb::arg("vectors").noconvert(), nb::arg("kernel") = "")
      .def("search", &search, nb::arg("queries").noconvert(), nb::arg("k"),
           nb::arg("exclude").noconvert().none() = nb::none())
      .def_prop_ro("vectors", &vectors)
      .def_prop_ro("size", &FlatIndex::size)
      .def_prop_ro("dim", &FlatIndex::dim)
      .def_prop_ro("bytes", &FlatIndex::bytes)
      .def_prop_ro("kernel", [](const FlatIndex& index) { return std::string(index.kernel()); });
}

}  // namespace rowbank::python
