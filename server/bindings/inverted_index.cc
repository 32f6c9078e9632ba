// InvertedIndex for Python: over arrays that Python owns, which the index keeps.
#include "inverted_index.h"

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

#include "arrays.h"
#include "bind.h"
#include "search_arrays.h"

namespace nb = nanobind;

namespace rowbank::python {
namespace {

using Numbers = nb::ndarray<const std::uint32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

struct ListsOwner {
  CodesOwner codes;
  Matrix centroids;
  Floats radii, spreads;
  Numbers starts, positions;
};

nb::tuple lists_of(const Matrix& vectors, std::size_t lists, std::uint64_t seed, std::size_t threads) {
  InvertedLists made;
  {
    nb::gil_scoped_release nogil;
    made = make_lists(vectors.data(), vectors.shape(0), vectors.shape(1), lists, seed, threads);
  }
  const std::size_t count = made.radii.size();
  const std::size_t slots = made.positions.size();
  return nb::make_tuple(owned_array(std::move(made.centroids), {count, vectors.shape(1)}),
                        owned_array(std::move(made.radii), {count}), owned_array(std::move(made.spreads), {count}),
                        owned_array(std::move(made.starts), {count + 1}),
                        owned_array(std::move(made.positions), {slots}));
}

nb::tuple encode(const Matrix& vectors, const Numbers& positions) {
  check_vector_shape(vectors.shape(0), vectors.shape(1));
  const std::size_t slots = positions.shape(0);
  for (std::size_t i = 0; i < slots; ++i) {
    if (positions.data()[i] != kNoPosition && positions.data()[i] >= vectors.shape(0)) {
      throw std::invalid_argument("position " + std::to_string(positions.data()[i]) + " of slot " + std::to_string(i) +
                                  " is beyond the " + std::to_string(vectors.shape(0)) + " vectors");
    }
  }
  VectorCodes made;
  {
    nb::gil_scoped_release nogil;
    made = encode_vectors(vectors.data(), vectors.shape(1), positions.data(), slots);
  }
  const std::size_t bytes = made.codes.size();
  const std::size_t padded = made.scale.size();
  return nb::make_tuple(owned_array(std::move(made.codes), {bytes}), owned_array(std::move(made.scale), {padded}),
                        owned_array(std::move(made.error), {padded}), owned_array(std::move(made.norm), {padded}));
}

std::unique_ptr<InvertedIndex> make(const Matrix& vectors, const Matrix& centroids, const Floats& radii,
                                    const Floats& spreads, const Numbers& starts, const Numbers& positions,
                                    const Bytes& codes, const Floats& scale, const Floats& error, const Floats& norm,
                                    const std::string& kernel) {
  const ScanKernel& chosen = kernel_of(kernel);
  const std::size_t dim = vectors.shape(1);
  const std::size_t lists = radii.shape(0);
  if (centroids.shape(1) != dim) {
    throw std::invalid_argument("centroids have dim " + std::to_string(centroids.shape(1)) + ", the vectors have " +
                                std::to_string(dim));
  }
  check_length("centroids", centroids.shape(0), lists);
  check_length("spreads", spreads.shape(0), lists);
  check_length("starts", starts.shape(0), lists + 1);
  const std::size_t slots = std::size_t{starts.data()[lists]} * kScanBlock;
  check_length("positions", positions.shape(0), slots);
  check_length("codes", codes.shape(0), slots * 4 * groups_of(dim));
  check_length("scale", scale.shape(0), slots);
  check_length("error", error.shape(0), slots);
  check_length("norm", norm.shape(0), slots);
  const auto owner = std::make_shared<ListsOwner>(
      ListsOwner{{vectors, codes, scale, error, norm}, centroids, radii, spreads, starts, positions});
  const InvertedArrays arrays{lists,
                              centroids.data(),
                              radii.data(),
                              spreads.data(),
                              starts.data(),
                              positions.data(),
                              {codes.data(), {scale.data(), error.data(), norm.data()}}};
  return std::make_unique<InvertedIndex>(owner, vectors.data(), vectors.shape(0), dim, arrays, chosen);
}

nb::tuple search(const InvertedIndex& index, const Matrix& queries, std::size_t k, std::size_t lists, std::size_t rows,
                 const std::optional<Bitmaps>& exclude, const nb::object& bonus) {
  const Asked asked(queries, k, exclude, bonus, index.size(), index.dim());
  const ProbeRule rule{lists, rows};
  return answer(asked, [&index, &rule](const SearchRequest& request, std::int64_t* positions, float* scores) {
    index.search(request, rule, positions, scores);
  });
}

}  // namespace

void bind_inverted_index(nb::module_& module) {
  module.def("make_lists", &lists_of, nb::arg("vectors").noconvert(), nb::arg("lists"), nb::arg("seed"),
             nb::arg("threads") = 1);
  module.def("encode_slots", &encode, nb::arg("vectors").noconvert(), nb::arg("positions").noconvert());
  nb::class_<InvertedIndex>(module, "InvertedIndex")
      .def(nb::new_(&make), nb::arg("vectors").noconvert(), nb::arg("centroids").noconvert(),
           nb::arg("radii").noconvert(), nb::arg("spreads").noconvert(), nb::arg("starts").noconvert(),
           nb::arg("positions").noconvert(), nb::arg("codes").noconvert(), nb::arg("scale").noconvert(),
           nb::arg("error").noconvert(), nb::arg("norm").noconvert(), nb::arg("kernel") = "")
      .def("search", &search, nb::arg("queries").noconvert(), nb::arg("k"), nb::arg("lists"), nb::arg("rows"),
           nb::arg("exclude").noconvert().none() = nb::none(), nb::arg("bonus") = nb::none())
      .def_prop_ro("size", &InvertedIndex::size)
      .def_prop_ro("dim", &InvertedIndex::dim)
      .def_prop_ro("lists", &InvertedIndex::lists)
      .def_prop_ro("bytes", &InvertedIndex::bytes)
      .def_prop_ro("kernel", [](const InvertedIndex& index) { return std::string(index.kernel()); });
}

}  // namespace rowbank::python
