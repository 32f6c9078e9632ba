#include "near_cache_bindings.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <cstring>
#include <optional>
#include <stdexcept>

#include "arrays.h"
#include "near_cache.h"

namespace nb = nanobind;

namespace rowbank::client {
namespace {

void require_places(const In<std::int64_t, 1>& places, std::size_t count) {
  for (std::size_t i = 0; i < places.shape(0); ++i) {
    require(places.data()[i] >= 0 && places.data()[i] < static_cast<std::int64_t>(count), "places: beyond the keys");
  }
}

nb::tuple read(NearCache& cache, const In<std::int64_t, 1>& keys, const Out<float, 2>& rows,
               const Out<std::uint8_t, 1>& status, const Out<std::int64_t, 1>& missing) {
  const std::size_t count = keys.shape(0);
  require(
      rows.shape(0) == count && rows.shape(1) == cache.dim() && status.shape(0) == count && missing.shape(0) == count,
      "keys, rows, status, missing: shapes do not belong together");
  std::uint64_t token = 0;
  std::size_t misses = 0;
  {
    const nb::gil_scoped_release nogil;
    misses = cache.read(keys.data(), count, rows.data(), status.data(), missing.data(), &token);
  }
  return nb::make_tuple(token, misses);
}

void fill(NearCache& cache, std::uint64_t token, const In<std::int64_t, 1>& keys, const In<float, 2>& rows,
          const In<std::uint8_t, 1>& status, const In<std::int64_t, 1>& places) {
  const std::size_t count = keys.shape(0);
  require(rows.shape(0) == count && rows.shape(1) == cache.dim() && status.shape(0) == count,
          "keys, rows, status: shapes do not belong together");
  require_places(places, count);
  const nb::gil_scoped_release nogil;
  cache.fill(token, keys.data(), rows.data(), status.data(), places.data(), places.shape(0));
}

void take(const In<std::int64_t, 1>& places, const In<float, 2>& values, const In<std::uint8_t, 1>& value_status,
          const Out<float, 2>& rows, const Out<std::uint8_t, 1>& status) {
  const std::size_t count = places.shape(0);
  const std::size_t dim = rows.shape(1);
  require(values.shape(0) == count && values.shape(1) == dim && value_status.shape(0) == count &&
              status.shape(0) == rows.shape(0),
          "places, values, rows, status: shapes do not belong together");
  require_places(places, rows.shape(0));
  const nb::gil_scoped_release nogil;
  for (std::size_t i = 0; i < count; ++i) {
    const auto place = static_cast<std::size_t>(places.data()[i]);
    std::memcpy(rows.data() + place * dim, values.data() + i * dim, dim * sizeof(float));
    status.data()[place] = value_status.data()[i];
  }
}

std::uint64_t begin_write(NearCache& cache, const In<std::int64_t, 1>& keys, bool all, bool will_apply) {
  const nb::gil_scoped_release nogil;
  return cache.begin_write(keys.data(), keys.shape(0), all, will_apply);
}

void end_write(NearCache& cache, std::uint64_t token, const std::optional<In<float, 2>>& gradients,
               float learning_rate) {
  require(!gradients || (gradients->shape(1) == cache.dim() && gradients->shape(0) == cache.written(token)),
          "gradients: expected a row per key of the write");
  const nb::gil_scoped_release nogil;
  cache.end_write(token, gradients ? gradients->data() : nullptr, learning_rate);
}

nb::dict counts(const NearCache& cache) {
  const NearCounts counts = cache.counts();
  nb::dict result;
  result["rows"] = counts.rows;
  result["capacity"] = counts.capacity;
  result["bytes"] = counts.bytes;
  result["hits"] = counts.hits;
  result["misses"] = counts.misses;
  result["evicted"] = counts.evicted;
  result["invalidated"] = counts.invalidated;
  result["applied"] = counts.applied;
  return result;
}

nb::list ages(const NearCache& cache) {
  nb::list result;
  for (const std::uint64_t count : cache.ages()) result.append(count);
  return result;
}

}  // namespace

void bind_near_cache(nb::module_& m) {
  const auto keys = nb::arg("keys").noconvert();
  const auto rows = nb::arg("rows").noconvert();
  const auto status = nb::arg("status").noconvert();
  nb::class_<NearCache>(m, "NearCache")
      .def(nb::init<std::size_t, std::size_t, std::uint64_t>(), nb::arg("dim"), nb::arg("max_bytes"),
           nb::arg("max_staleness_steps"))
      .def("read", read, keys, rows, status, nb::arg("missing").noconvert())
      .def("fill", fill, nb::arg("token"), keys, rows, status, nb::arg("places").noconvert())
      .def("begin_write", begin_write, keys, nb::arg("every"), nb::arg("will_apply"))
      .def("end_write", end_write, nb::arg("token"), nb::arg("gradients").noconvert().none(), nb::arg("learning_rate"))
      .def_static("take", take, nb::arg("places").noconvert(), nb::arg("values").noconvert(),
                  nb::arg("value_status").noconvert(), rows, status)
      .def("counts", counts)
      .def("ages", ages);
}

}  // namespace rowbank::client
