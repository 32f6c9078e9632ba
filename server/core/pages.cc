#include "pages.h"

#include <sys/mman.h>

namespace rowbank {

// Reserves a little more than asked and unmaps both ends, so that what stays is aligned.
char* map_pages(std::size_t bytes) {
  void* mapped =
      ::mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    throw std::bad_alloc();
  }
  char* memory = static_cast<char*>(mapped);
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const std::size_t before = round_up_to_huge_pages(address) - address;
  if (before > 0) {
    ::munmap(memory, before);
  }
  if (kHugePage > before) {
    ::munmap(memory + before + bytes, kHugePage - before);
  }
  return memory + before;
}

void unmap_pages(char* memory, std::size_t bytes) noexcept {
  ::munmap(memory, bytes);
}

void advise_huge_pages([[maybe_unused]] char* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  ::madvise(memory, bytes, MADV_HUGEPAGE);
#endif
}

}  // namespace rowbank
