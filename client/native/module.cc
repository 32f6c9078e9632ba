// The extension module rowbank._native. Signatures and contracts are documented in _native.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "arrays.h"
#include "batch.h"
#include "near_cache_bindings.h"
#include "ranking.h"
#include "related.h"
#include "rounding.h"

namespace nb = nanobind;

namespace rowbank::client {
namespace {

// NumPy's float16, or uint16 that holds its bits.
using Halves = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using HalvesOut = nb::ndarray<nb::c_contig, nb::device::cpu>;

std::size_t distinct(const In<std::int64_t, 1>& keys, const Out<std::int64_t, 1>& found,
                     const Out<std::uint32_t, 1>& inverse, const Out<std::uint32_t, 1>& occurrences) {
  const std::size_t count = keys.shape(0);
  require(count < (std::size_t{1} << 31), "keys: expected fewer than 2^31");
  require(found.shape(0) == count && inverse.shape(0) == count && occurrences.shape(0) == count,
          "distinct, inverse, occurrences: expected as many entries as keys");
  const nb::gil_scoped_release nogil;
  return find_distinct(keys.data(), count, found.data(), inverse.data(), occurrences.data());
}

void sum_per_key(const In<float, 2>& rows, const In<std::uint32_t, 1>& inverse, const Out<float, 2>& out) {
  const std::size_t count = rows.shape(0);
  const std::size_t dim = rows.shape(1);
  require(inverse.shape(0) == count && out.shape(1) == dim, "rows, inverse, out: shapes do not belong together");
  const nb::gil_scoped_release nogil;
  require(is_inverse(inverse.data(), count, out.shape(0)), "inverse: expected what distinct() wrote");
  sum_rows(rows.data(), inverse.data(), count, dim, out.data());
}

void expand(const In<float, 2>& rows, const In<std::uint32_t, 1>& inverse, const Out<float, 2>& out) {
  const std::size_t count = out.shape(0);
  const std::size_t dim = out.shape(1);
  require(inverse.shape(0) == count && rows.shape(1) == dim, "rows, inverse, out: shapes do not belong together");
  const nb::gil_scoped_release nogil;
  require(is_inverse(inverse.data(), count, rows.shape(0)), "inverse: expected what distinct() wrote");
  expand_rows(rows.data(), inverse.data(), count, dim, out.data());
}

template <typename Array>
void require_halves(const Array& array, std::size_t count) {
  const nb::dlpack::dtype half{static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float), 16, 1};
  require(array.dtype() == half, "expected float16");
  require(array.size() == count, "expected arrays of one size");
  require(converts_half(), "this CPU has no instructions for float16; see converts_half()");
}

void widen_half(const Halves& in, const nb::ndarray<float, nb::c_contig, nb::device::cpu>& out) {
  require_halves(in, out.size());
  const nb::gil_scoped_release nogil;
  half_to_float(static_cast<const std::uint16_t*>(in.data()), out.data(), out.size());
}

void round_to_half(const nb::ndarray<const float, nb::c_contig, nb::device::cpu>& in, const HalvesOut& out) {
  require_halves(out, in.size());
  const nb::gil_scoped_release nogil;
  float_to_half(in.data(), static_cast<std::uint16_t*>(out.data()), in.size());
}

void round_at_random(const nb::ndarray<const float, nb::c_contig, nb::device::cpu>& in,
                     const nb::ndarray<std::uint16_t, nb::c_contig, nb::device::cpu>& out, bool half,
                     std::uint64_t seed) {
  require(out.size() == in.size(), "expected arrays of one size");
  const nb::gil_scoped_release nogil;
  (half ? float_to_half_at_random : float_to_bfloat_at_random)(in.data(), out.data(), in.size(), seed);
}

void widen_int8(const In<std::uint8_t, 2>& rows, const Out<float, 2>& out) {
  const std::size_t dim = out.shape(1);
  require(rows.shape(0) == out.shape(0) && rows.shape(1) == sizeof(float) + dim,
          "rows, out: shapes do not belong together");
  const nb::gil_scoped_release nogil;
  int8_to_float(rows.data(), out.data(), out.shape(0), dim);
}

void keep_best_scores(const In<float, 2>& scores, std::int64_t first_item, const Out<float, 2>& best_scores,
                      const Out<std::int64_t, 2>& best_items) {
  const std::size_t users = scores.shape(0);
  const std::size_t size = best_scores.shape(1);
  require(best_scores.shape(0) == users && best_items.shape(0) == users && best_items.shape(1) == size,
          "scores, best_scores, best_items: shapes do not belong together");
  const nb::gil_scoped_release nogil;
  keep_best(scores.data(), users, scores.shape(1), first_item, best_scores.data(), best_items.data(), size);
}

// Whether `starts` part `total` entries, and every entry is in [0, bound).
bool is_parted(const In<std::int64_t, 1>& starts, const In<std::int64_t, 1>& entries, std::size_t bound) {
  const std::int64_t* begin = starts.data();
  const std::int64_t* end = begin + starts.shape(0);
  const auto limit = static_cast<std::int64_t>(bound);
  return starts.shape(0) > 0 && *begin == 0 && end[-1] == static_cast<std::int64_t>(entries.shape(0)) &&
         std::is_sorted(begin, end) && std::all_of(entries.data(), entries.data() + entries.shape(0), [&](auto entry) {
           return entry >= 0 && entry < limit;
         });
}

void related_items(const In<std::int64_t, 1>& user_starts, const In<std::int64_t, 1>& items,
                   const In<std::int64_t, 1>& item_starts, const In<std::int64_t, 1>& users, std::size_t first,
                   const Out<std::int64_t, 2>& out) {
  require(user_starts.shape(0) > 0 && item_starts.shape(0) > 0, "starts: expected at least one entry");
  const std::size_t item_count = item_starts.shape(0) - 1;
  require(first <= item_count && out.shape(0) <= item_count - first, "first, out: expected a range of the items");
  const nb::gil_scoped_release nogil;
  require(is_parted(user_starts, items, item_count) && is_parted(item_starts, users, user_starts.shape(0) - 1),
          "starts, items, users: expected ascending starts and positions within the other side");
  most_related({user_starts.data(), items.data(), item_starts.data(), users.data(), item_count}, first, out.shape(0),
               out.shape(1), out.data());
}

}  // namespace
}  // namespace rowbank::client

NB_MODULE(_native, m) {
  using namespace rowbank::client;
  nb::set_leak_warnings(false);
  const auto inverse = nb::arg("inverse").noconvert();
  const auto out = nb::arg("out").noconvert();
  m.def("distinct", distinct, nb::arg("keys").noconvert(), nb::arg("distinct").noconvert(), inverse,
        nb::arg("occurrences").noconvert());
  m.def("sum_per_key", sum_per_key, nb::arg("rows").noconvert(), inverse, out);
  m.def("expand", expand, nb::arg("rows").noconvert(), inverse, out);
  m.def("keep_best", keep_best_scores, nb::arg("scores").noconvert(), nb::arg("first_item"),
        nb::arg("best_scores").noconvert(), nb::arg("best_items").noconvert());
  m.def("related_items", related_items, nb::arg("user_starts").noconvert(), nb::arg("items").noconvert(),
        nb::arg("item_starts").noconvert(), nb::arg("users").noconvert(), nb::arg("first"), out);
  m.def("converts_half", converts_half);
  bind_near_cache(m);
  m.def("widen_half", widen_half, nb::arg("halves").noconvert(), out);
  m.def("widen_int8", widen_int8, nb::arg("rows").noconvert(), out);
  m.def("round_at_random", round_at_random, nb::arg("values").noconvert(), out, nb::arg("half"), nb::arg("seed"));
  m.def("round_to_half", round_to_half, nb::arg("values").noconvert(), out);
}
