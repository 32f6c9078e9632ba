// The best of many scores, block by block. No Python here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rowbank::client {

// Takes a block of scores into the best so far of each user.
//
// Problem: a catalogue of a million is scored for every user, and of each line of scores a hundred count. Idea: a heap
// of the best with the worst of them on top. Once it is full hardly any score beats the top, so the pass over a line is
// a comparison with one number, in runs that the compiler makes wide instructions of; the heap is touched where a run
// has something. Of equal scores the lower position is better, as if all had been sorted by it; positions rise from
// call to call. NaN and -infinity are never taken.
//
// scores [users, block]; best_scores and best_items [users, size], best first, -infinity and -1 where there are fewer.
// REQUIRES: best_scores and best_items are as this function left them or empty; first_item is above every item in them.
void keep_best(const float* scores, std::size_t users, std::size_t block, std::int64_t first_item, float* best_scores,
               std::int64_t* best_items, std::size_t size);

}  // namespace rowbank::client
