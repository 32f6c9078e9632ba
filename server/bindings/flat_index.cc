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

#include "bind.h"
#include "search_arrays.h"

namespace nb = nanobind;

namespace rowbank::python {
namespace {

std::unique_ptr<FlatIndex> make(const Matrix& vectors, const std::string& kernel, bool copy) {
  const ScanKernel& chosen = kernel_of(kernel);
  if (!copy) {
    auto owner = std::make_shared<Matrix>(vectors);
    nb::gil_scoped_release nogil;
    return std::make_unique<FlatIndex>(owner, vectors.data(), vectors.shape(0), vectors.shape(1), chosen);
  }
  nb::gil_scoped_release nogil;
  return std::make_unique<FlatIndex>(vectors.data(), vectors.shape(0), vectors.shape(1), chosen);
}

std::unique_ptr<FlatIndex> over(const Matrix& vectors, const Bytes& codes, const Floats& scale, const Floats& error,
                                const Floats& norm, const std::string& kernel) {
  const ScanKernel& chosen = kernel_of(kernel);
  const std::size_t size = vectors.shape(0);
  const std::size_t dim = vectors.shape(1);
  const std::size_t padded = blocks_of(size) * kScanBlock;
  check_length("codes", codes.shape(0), padded * 4 * groups_of(dim));
  check_length("scale", scale.shape(0), padded);
  check_length("error", error.shape(0), padded);
  check_length("norm", norm.shape(0), padded);
  const auto owner = std::make_shared<CodesOwner>(CodesOwner{vectors, codes, scale, error, norm});
  const CodeArrays arrays{codes.data(), {scale.data(), error.data(), norm.data()}};
  return std::make_unique<FlatIndex>(owner, vectors.data(), size, dim, arrays, chosen);
}

nb::tuple search(const FlatIndex& index, const Matrix& queries, std::size_t k, const std::optional<Bitmaps>& exclude,
                 const nb::object& bonus) {
  const Asked asked(queries, k, exclude, bonus, index.size(), index.dim());
  return answer(asked, [&index](const SearchRequest& request, std::int64_t* positions, float* scores) {
    index.search(request, positions, scores);
  });
}

nb::tuple search_all(const Matrix& vectors, const Matrix& queries, std::size_t k, const std::optional<Bitmaps>& exclude,
                     const nb::object& bonus) {
  check_vector_shape(vectors.shape(0), vectors.shape(1));
  const Asked asked(queries, k, exclude, bonus, vectors.shape(0), vectors.shape(1));
  return answer(asked, [&vectors](const SearchRequest& request, std::int64_t* positions, float* scores) {
    search_vectors(vectors.data(), vectors.shape(0), vectors.shape(1), request, positions, scores);
  });
}

// Views of the index's own memory that keep the index alive.
nb::ndarray<nb::numpy, const float, nb::ndim<2>, nb::c_contig> vectors(nb::handle_t<FlatIndex> self) {
  const auto& index = nb::cast<const FlatIndex&>(self);
  return {index.vectors(), {index.size(), index.dim()}, self};
}

nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>, nb::c_contig> codes(nb::handle_t<FlatIndex> self) {
  const auto& index = nb::cast<const FlatIndex&>(self);
  return {index.arrays().codes, {index.blocks() * kScanBlock * 4 * index.groups()}, self};
}

template <const float* ItemColumns::* Column>
nb::ndarray<nb::numpy, const float, nb::ndim<1>, nb::c_contig> column(nb::handle_t<FlatIndex> self) {
  const auto& index = nb::cast<const FlatIndex&>(self);
  return {index.arrays().items.*Column, {index.blocks() * kScanBlock}, self};
}

}  // namespace

void bind_flat_index(nb::module_& module) {
  nb::class_<FlatIndex>(module, "FlatIndex")
      .def(nb::new_(&make), nb::arg("vectors").noconvert(), nb::arg("kernel") = "", nb::arg("copy") = true)
      .def_static("over", &over, nb::arg("vectors").noconvert(), nb::arg("codes").noconvert(),
                  nb::arg("scale").noconvert(), nb::arg("error").noconvert(), nb::arg("norm").noconvert(),
                  nb::arg("kernel") = "")
      .def("search", &search, nb::arg("queries").noconvert(), nb::arg("k"),
           nb::arg("exclude").noconvert().none() = nb::none(), nb::arg("bonus") = nb::none())
      .def_prop_ro("vectors", &vectors)
      .def_prop_ro("codes", &codes)
      .def_prop_ro("scale", &column<&ItemColumns::scale>)
      .def_prop_ro("error", &column<&ItemColumns::error>)
      .def_prop_ro("norm", &column<&ItemColumns::norm>)
      .def_prop_ro("size", &FlatIndex::size)
      .def_prop_ro("dim", &FlatIndex::dim)
      .def_prop_ro("bytes", &FlatIndex::bytes)
      .def_prop_ro("kernel", [](const FlatIndex& index) { return std::string(index.kernel()); });
  module.def("search_vectors", &search_all, nb::arg("vectors").noconvert(), nb::arg("queries").noconvert(),
             nb::arg("k"), nb::arg("exclude").noconvert().none() = nb::none(), nb::arg("bonus") = nb::none());
}

}  // namespace rowbank::python
