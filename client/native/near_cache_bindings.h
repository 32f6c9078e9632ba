#pragma once

#include <nanobind/nanobind.h>

namespace rowbank::client {

void bind_near_cache(nanobind::module_& m);

}  // namespace rowbank::client
