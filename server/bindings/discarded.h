// Python objects that are not needed any more, from threads that do not hold the interpreter's lock.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <mutex>
#include <vector>

namespace rowbank::python {

// Thread-safe. What it keeps may outlive it, such as a request that the journal still has when there is no endpoint any
// more; those objects are then never freed.
class Discarded {
 public:
  // REQUIRES: the caller holds the interpreter's lock. Keeps `object` until the result is gone, and a little longer.
  std::shared_ptr<void> keep(nanobind::object object) {
    return {object.release().ptr(), [heap = heap_](void* kept) {
              const std::lock_guard<std::mutex> locked(heap->mutex);
              heap->objects.push_back(static_cast<PyObject*>(kept));
            }};
  }
  // REQUIRES: the caller holds the interpreter's lock.
  void drop() {
    std::vector<PyObject*> objects;
    {
      const std::lock_guard<std::mutex> locked(heap_->mutex);
      objects.swap(heap_->objects);
    }
    for (PyObject* object : objects) {
      Py_DECREF(object);
    }
  }

 private:
  struct Heap {
    std::mutex mutex;
    std::vector<PyObject*> objects;
  };
  std::shared_ptr<Heap> heap_ = std::make_shared<Heap>();
};

}  // namespace rowbank::python
