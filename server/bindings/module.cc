// The extension module rowbank_server._core. Signatures and contracts are documented in _core.pyi.
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>

#include <map>
#include <stdexcept>
#include <string>

#include "arrays.h"
#include "bind.h"
#include "crc32c.h"
#include "hash.h"

namespace rowbank::python {
namespace {

nb::object hash_keys(const InArray& keys) {
  const KeySpan span = keys_of(keys);
  std::vector<std::uint64_t> hashes(span.size);
  {
    const nb::gil_scoped_release nogil;
    for (std::size_t i = 0; i < span.size; ++i) hashes[i] = hash_key(span.data[i]);
  }
  return owned_array(std::move(hashes), {span.size});
}

nb::object bucket_of(const InArray& keys, std::uint32_t bucket_count) {
  const KeySpan span = keys_of(keys);
  if (bucket_count == 0) {
    throw std::invalid_argument("bucket_count must be at least 1, got 0");
  }
  std::vector<std::uint32_t> buckets(span.size);
  {
    const nb::gil_scoped_release nogil;
    for (std::size_t i = 0; i < span.size; ++i) buckets[i] = bucket_of_hash(hash_key(span.data[i]), bucket_count);
  }
  return owned_array(std::move(buckets), {span.size});
}

bool is_finite(const InArray& array) {
  const std::size_t rows = array.ndim() > 0 ? array.shape(0) : 1;
  const ValuesIn values = values_of(array, "array", rows, rows == 0 ? array.shape(1) : array.size() / rows);
  const std::size_t count = array.size();
  const nb::gil_scoped_release nogil;
  return all_finite(values.type, values.data, count);
}

// To take the lock again costs more than a short checksum; one of a megabyte takes 0.2 ms.
std::uint32_t checksum(const nb::bytes& data) {
  constexpr std::size_t kWorthReleasing = std::size_t{64} << 10;
  const char* bytes = data.c_str();
  const std::size_t size = data.size();
  if (size <= kWorthReleasing) {
    return crc32c(0, bytes, size);
  }
  const nb::gil_scoped_release nogil;
  return crc32c(0, bytes, size);
}

void construct_optimizer(Optimizer* self, const std::string& kind, const nb::kwargs& numbers) {
  std::map<std::string, double> given;
  for (const auto& [name, value] : numbers) {
    given[nb::cast<std::string>(name)] = nb::cast<double>(value);
  }
  new (self) Optimizer(kind, given);
}

}  // namespace
}  // namespace rowbank::python

NB_MODULE(_core, m) {
  using namespace rowbank;
  using namespace rowbank::python;
  // Objects that Python still holds when it exits are not our leak, and the warning would go to users' terminals.
  nb::set_leak_warnings(false);
  m.def("hash_keys", hash_keys, nb::arg("keys").noconvert());
  m.def("bucket_of", bucket_of, nb::arg("keys").noconvert(), nb::arg("bucket_count"));
  m.def("all_finite", is_finite, nb::arg("array").noconvert());
  m.def("crc32c", checksum, nb::arg("data"));
  m.def("cpu_variant", [] { return kernels().name; });
  nb::class_<Initializer>(m, "Initializer")
      .def(nb::init<const std::string&, double, double, std::uint64_t>(), nb::arg("kind"), nb::arg("a") = 0.0,
           nb::arg("b") = 0.0, nb::arg("seed") = 0);
  nb::class_<Optimizer>(m, "Optimizer")
      .def("__init__", construct_optimizer, nb::arg("kind"), nb::arg("numbers"))
      .def_prop_ro("kind", &Optimizer::kind_name)
      .def_prop_ro("numbers", &Optimizer::numbers);
  bind_row_table(m);
  bind_cold_rows(m);
  bind_flat_index(m);
  bind_inverted_index(m);
  bind_message(m);
  bind_resp(m);
  bind_feature_values(m);
  bind_mutations(m);
  bind_journal(m);
}
