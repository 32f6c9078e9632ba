#include "ranking.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace rowbank::client {
namespace {

constexpr std::size_t kRun = 64;

struct Entry {
  float score;
  std::int64_t item;
};

// Whether `a` comes before `b`. With it as "less", a standard heap has the worst entry on top.
bool better(const Entry& a, const Entry& b) {
  return a.score != b.score ? a.score > b.score : a.item < b.item;
}

bool any_above(const float* scores, std::size_t count, float bound) {
  bool found = false;
  for (std::size_t i = 0; i < count; ++i) {
    found |= scores[i] > bound;
  }
  return found;
}

void load(const float* scores, const std::int64_t* items, std::size_t size, std::vector<Entry>& heap) {
  heap.clear();
  for (std::size_t i = 0; i < size && items[i] >= 0; ++i) {
    heap.push_back({scores[i], items[i]});
  }
  std::make_heap(heap.begin(), heap.end(), better);
}

void offer(std::vector<Entry>& heap, std::size_t size, Entry entry) {
  if (heap.size() == size) {
    std::pop_heap(heap.begin(), heap.end(), better);
    heap.back() = entry;
  } else {
    heap.push_back(entry);
  }
  std::push_heap(heap.begin(), heap.end(), better);
}

}  // namespace

void keep_best(const float* scores, std::size_t users, std::size_t block, std::int64_t first_item, float* best_scores,
               std::int64_t* best_items, std::size_t size) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  std::vector<Entry> heap;
  heap.reserve(size);
  for (std::size_t user = 0; user < users && size > 0; ++user) {
    const float* line = scores + user * block;
    float* kept_scores = best_scores + user * size;
    std::int64_t* kept_items = best_items + user * size;
    load(kept_scores, kept_items, size, heap);
    for (std::size_t start = 0; start < block; start += kRun) {
      const std::size_t count = std::min(kRun, block - start);
      const auto bound = [&] { return heap.size() == size ? heap.front().score : kNothing; };
      if (!any_above(line + start, count, bound())) {
        continue;
      }
      for (std::size_t i = start; i < start + count; ++i) {
        if (line[i] > bound()) {
          offer(heap, size, {line[i], first_item + static_cast<std::int64_t>(i)});
        }
      }
    }
    std::sort(heap.begin(), heap.end(), better);
    for (std::size_t i = 0; i < size; ++i) {
      kept_scores[i] = i < heap.size() ? heap[i].score : kNothing;
      kept_items[i] = i < heap.size() ? heap[i].item : -1;
    }
  }
}

}  // namespace rowbank::client
