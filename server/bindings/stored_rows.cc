// RowTable's rows in their stored form: taken to be written, packed for others, and put back.
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "arrays.h"
#include "bind.h"
#include "reports.h"

namespace rowbank::python {
namespace {

using Release = nb::gil_scoped_release;

PyDirtyRows take_dirty(RowTable& table, std::uint32_t bucket, std::size_t max_rows) {
  DirtyRows rows;
  {
    const Release nogil;
    rows = table.take_dirty(bucket, max_rows);
  }
  const std::size_t count = rows.keys.size();
  const std::size_t removed = rows.removed_keys.size();
  return {owned_array(std::move(rows.keys), {count}), owned_array(std::move(rows.removed_keys), {removed}),
          nb::bytes(rows.packed.data(), rows.packed.size())};
}

nb::object take_dirty_keys(RowTable& table, std::uint32_t bucket) {
  std::vector<std::int64_t> keys;
  {
    const Release nogil;
    keys = table.take_dirty_keys(bucket);
  }
  const std::size_t count = keys.size();
  return owned_array(std::move(keys), {count});
}

nb::tuple pack_bucket(const RowTable& table, std::uint32_t bucket) {
  PackedRows rows;
  {
    const Release nogil;
    rows = table.pack_bucket(bucket);
  }
  const std::size_t count = rows.keys.size();
  const nb::bytes packed(rows.packed.data(), rows.packed.size());
  return nb::make_tuple(owned_array(std::move(rows.keys), {count}), packed);
}

nb::tuple pack_rows(const RowTable& table, const InArray& keys) {
  const KeySpan span = keys_of(keys);
  PackedRows rows;
  {
    const Release nogil;
    rows = table.pack_rows(span);
  }
  const std::size_t count = rows.keys.size();
  const nb::bytes packed(rows.packed.data(), rows.packed.size());
  return nb::make_tuple(owned_array(std::move(rows.keys), {count}), packed);
}

nb::bytes pack_common_row(const RowTable& table) {
  const std::vector<char> packed = table.common_row().pack();
  return nb::bytes(packed.data(), packed.size());
}

// A list of the fields that were not loaded, as load_fields names them.
PyLoadedFields loaded_fields(const LoadedRows& rows) {
  PyLoadedFields result{rows.loaded, {}};
  for (const std::int64_t key : rows.corrupt_keys) {
    result.corrupt.append(nb::bytes(reinterpret_cast<const char*>(&key), sizeof key));
  }
  return result;
}

void require_packed(std::size_t bytes, std::size_t rows, std::size_t row_bytes) {
  if (bytes != rows * row_bytes) {
    throw std::invalid_argument("packed: expected " + std::to_string(rows * row_bytes) + " bytes for " +
                                std::to_string(rows) + " rows, got " + std::to_string(bytes));
  }
}

PyLoadedFields load_packed(RowTable& table, std::uint32_t bucket, const InArray& keys, const nb::bytes& packed) {
  const KeySpan span = keys_of(keys);
  require_packed(packed.size(), span.size, table.packed_row_bytes());
  LoadedRows rows;
  {
    const Release nogil;
    rows = table.load_bucket(bucket, span, packed.c_str());
  }
  return loaded_fields(rows);
}

std::uint64_t add_packed(RowTable& table, const InArray& keys, const nb::bytes& packed, std::uint64_t position) {
  const KeySpan span = keys_of(keys);
  require_packed(packed.size(), span.size, table.packed_row_bytes());
  const std::uint64_t checked = position_of(position);
  const Release nogil;
  return table.add_packed(span, packed.c_str(), checked);
}

nb::object take_common_row(RowTable& table) {
  const std::optional<std::vector<char>> packed = table.common_row().take_dirty();
  return packed ? nb::object(nb::bytes(packed->data(), packed->size())) : nb::object(nb::none());
}

// Reads the bytes of many small objects without a copy: the dict keeps them while the lock is released.
PyLoadedFields load_fields(RowTable& table, std::uint32_t bucket, const nb::dict& fields) {
  std::vector<FiledRow> filed;
  filed.reserve(fields.size());
  PyLoadedFields result{0, {}};
  for (const auto [field, value] : fields) {
    if (!PyBytes_Check(field.ptr()) || !PyBytes_Check(value.ptr())) {
      throw std::invalid_argument("fields: expected bytes by bytes");
    }
    if (PyBytes_Size(field.ptr()) != sizeof(std::int64_t) ||
        static_cast<std::size_t>(PyBytes_Size(value.ptr())) != table.packed_row_bytes()) {
      result.corrupt.append(field);
      continue;
    }
    std::int64_t key = 0;
    std::memcpy(&key, PyBytes_AsString(field.ptr()), sizeof key);
    filed.push_back({key, PyBytes_AsString(value.ptr())});
  }
  LoadedRows rows;
  {
    const Release nogil;
    rows = table.load_rows(bucket, filed.data(), filed.size());
  }
  const PyLoadedFields loaded = loaded_fields(rows);
  result.loaded = loaded.loaded;
  result.corrupt.extend(loaded.corrupt);
  return result;
}

}  // namespace

void bind_stored_rows(nb::class_<RowTable>& table) {
  const auto keys = nb::arg("keys").noconvert();
  table.def("take_dirty", take_dirty, nb::arg("bucket"), nb::arg("max_rows"))
      .def(
          "mark_dirty",
          [](RowTable& table, std::uint32_t bucket, const InArray& array) {
            const KeySpan span = keys_of(array);
            const Release nogil;
            table.mark_dirty(bucket, span);
          },
          nb::arg("bucket"), keys)
      .def("load_fields", load_fields, nb::arg("bucket"), nb::arg("fields"))
      .def("load_packed", load_packed, nb::arg("bucket"), keys, nb::arg("packed"))
      .def("add_packed", add_packed, keys, nb::arg("packed"), nb::kw_only(), nb::arg("position"))
      .def("keep_evicted", &RowTable::keep_evicted, nb::arg("max_bytes"))
      .def("take_dirty_keys", take_dirty_keys, nb::arg("bucket"))
      .def("pack_bucket", pack_bucket, nb::arg("bucket"))
      .def("pack_rows", pack_rows, keys)
      .def("take_common_row", take_common_row)
      .def("pack_common_row", pack_common_row)
      .def("mark_common_row_dirty", [](RowTable& table) { table.common_row().mark_dirty(); })
      .def(
          "load_common_row",
          [](RowTable& table, const nb::bytes& packed) { table.common_row().load(packed.c_str(), packed.size()); },
          nb::arg("packed"));
}

}  // namespace rowbank::python
