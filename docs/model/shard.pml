/* One shard: who may serve it, what is acknowledged, and what Redis has. README.md says what is left out and how to run.
 *
 * A configuration (-D) says how many processes there are, what each may do and how often; spin tries every order of their
 * steps. A fault (-DFAULT_...) leaves out one rule, and spin must find a run that breaks a claim.
 *
 * Every step below is atomic. It is one script or one command of Redis, or it changes what no other process can see
 * before that process's next step of Redis; where several of these are one step here, the comment says why nobody can tell.
 * Pauses need no step: a process that is stopped (SIGSTOP) is one that spin does not choose for a while. Nor do leases:
 * one may lapse at any moment, so a standby may try to claim at any moment.
 */

#ifndef PROCESSES
#define PROCESSES 2
#endif
#ifndef MUTATIONS
#define MUTATIONS 2   /* Each has one request id, and clients send it again and again. */
#endif
#ifndef EPOCHS
#define EPOCHS 3      /* Claims, the first owner's included. */
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef COLD
#define COLD 0        /* Bits: which processes may start cold, by a load from Redis. */
#endif
#ifndef STANDBY
#define STANDBY 0     /* Bits: which processes may start as standby. */
#endif

#define bit_of(m) (1 << (m))
#define position(e, n) ((e) * 4 + (n))
#define record(e, n) log[(e) * 2 + (n) - 1]
#define may(mask, i) (((mask) >> (i)) & 1)

#define REDIS 3       /* Places of rows and windows: processes 0 to 2, Redis, and what a check works out. */
#define CHECKED 4

#ifdef REMOVAL        /* Mutation 1 removes the row. */
#define removes(m) ((m) == 1)
#else
#define removes(m) false
#endif

mtype = { OFF, JOINS, CLAIMED, SERVES, DRAINS, HANDED, LAST };   /* Phases of a process. */
mtype = { NONE, OPEN, SEALED, DELETED };                         /* Of a stream. */
mtype = { FRESH, CANDIDATE, SETTLED };                           /* Of a standby's table. */

/* The row: how often each mutation shows in it, and the position of the last one; 0: there is no row. And the window:
   which request ids are known to be answered. */
byte count0[5], count1[5], seen[5], window[5];

/* Redis: epoch and owner, in one hash with `through`; the fence of the row; the streams of each epoch. */
byte epoch = 1, owner = 0, fence = 1, through = 0;
mtype stream[EPOCHS + 1];
byte first[EPOCHS + 1], appended[EPOCHS + 1];                    /* Records trimmed, and records appended. */
byte log[2 * EPOCHS + 2];                                        /* Record n of epoch e; beyond `appended` in RAM alone. */

/* RAM of processes. */
mtype phase[PROCESSES], table[PROCESSES];
byte mine[PROCESSES];                                            /* Its epoch. */
byte given[PROCESSES], landed[PROCESSES];                        /* Positions given out, and appended. */
bool dirty[PROCESSES], rewrite[PROCESSES];
byte stage[PROCESSES], back_through[PROCESSES], back_window[PROCESSES];  /* Of a write-back. */
byte followed[PROCESSES], its_epoch[PROCESSES], taken[PROCESSES];  /* Whom a standby follows, plus 1, and up to where. */
byte whole_at[PROCESSES], saw[PROCESSES];                        /* The epoch that a standby saw when it looked. */
bool whole[PROCESSES], pending[PROCESSES];

byte acknowledged = 0;                                           /* Bits of mutations. */
byte kills = 0;

hidden byte x_e, x_n, x_m, x_to, x_j;                       /* Of single steps. */
hidden byte x_changed, x_tail;

/* ---- arithmetic ---- */

/* Applies mutation m to the row at place r. */
inline apply(r, m, at) {
  if
  :: removes(m) ->
     x_changed = x_changed || seen[r] != 0;
     count0[r] = 0; count1[r] = 0; seen[r] = 0
  :: else ->
     x_changed = true; seen[r] = at;
     if
     :: (m) == 0 -> count0[r] = (count0[r] < 2 -> count0[r] + 1 : 2)
     :: else -> count1[r] = (count1[r] < 2 -> count1[r] + 1 : 2)
     fi
  fi
}

/* Replays record n of epoch e: a row that has seen its position is left alone, its request id is remembered. */
inline replay(r, e, n, exact) {
  x_m = record(e, n);
  if
  :: seen[r] < position(e, n) || !(exact) -> apply(r, x_m, position(e, n))
  :: else
  fi;
  window[r] = window[r] | bit_of(x_m)
}

inline copy_row(to, from) {
  count0[to] = count0[from]; count1[to] = count1[from]; seen[to] = seen[from]
}

inline clear_row(r) {
  count0[r] = 0; count1[r] = 0; seen[r] = 0; window[r] = 0
}

#ifdef FAULT_REPLAY_IGNORES_POSITIONS
#define EXACT false
#else
#define EXACT true
#endif

/* Replays what streams have after a position. */
inline replay_streams(r, after, exact) {
  x_e = 1;
  do
  :: x_e <= EPOCHS ->
     x_n = first[x_e] + 1;
     do
     :: (stream[x_e] == OPEN || stream[x_e] == SEALED) && x_n <= appended[x_e] ->
        if
        :: position(x_e, x_n) > (after) -> replay(r, x_e, x_n, exact)
        :: else
        fi;
        x_n++
     :: else -> break
     od;
     x_e++
  :: else -> break
  od
}

/* ---- claims ---- */

#ifdef REMOVAL
/* Clients send the removal once the push is acknowledged. */
#define sound(r) ( \
  (!(acknowledged & 2) || count0[r] == 0) && \
  (!(acknowledged & 1) || (window[r] & 2) || count0[r] == 1) && \
  count0[r] <= 1 && (count0[r] == 0 || (window[r] & 1)))
#else
/* What is acknowledged is there, once; what is there is recognised when it comes again, and what is recognised is there. */
#define sound(r) ( \
  (acknowledged & window[r]) == acknowledged && \
  count0[r] == (window[r] & 1) && count1[r] == ((window[r] >> 1) & 1))
#endif

/* Redis alone, at every moment, has each mutation once or not at all, and all that are acknowledged. */
inline check_redis() {
  copy_row(CHECKED, REDIS);
  window[CHECKED] = window[REDIS];
  replay_streams(CHECKED, 0, true);
  assert(sound(CHECKED));
  clear_row(CHECKED);
  x_changed = false; x_e = 0; x_n = 0; x_m = 0
}

/* What a process acknowledges, every later owner has. */
inline acknowledge(by, m) {
  acknowledged = acknowledged | bit_of(m);
  x_j = 0;
  do
  :: x_j < PROCESSES ->
     assert(!(phase[x_j] == SERVES && mine[x_j] > mine[by]) || (window[x_j] & bit_of(m)));
     x_j++
  :: else -> x_j = 0; break
  od
}

/* A replaced owner that wakes changes nothing: Redis does not obey who has a successor that serves. */
inline changes_redis(by) {
  x_j = 0;
  do
  :: x_j < PROCESSES ->
     assert(!(phase[x_j] == SERVES && mine[x_j] > mine[by]));
     x_j++
  :: else -> x_j = 0; break
  od
}

/* ---- an end, whatever the reason ---- */

inline forget(p) {
  clear_row(p);
  phase[p] = OFF; table[p] = FRESH; mine[p] = 0; given[p] = 0; landed[p] = 0; dirty[p] = false; rewrite[p] = false;
  stage[p] = 0; back_through[p] = 0; back_window[p] = 0; followed[p] = 0; its_epoch[p] = 0; taken[p] = 0;
  whole_at[p] = 0; saw[p] = 0; whole[p] = false; pending[p] = false
}

/* ---- following ----
 * What is on the wire is not modelled. A standby's RAM is seen by nobody before it claims; so a message that comes late
 * cannot be told from one that came at once, nor one that never comes from one that was never sent.
 */

#ifdef FAULT_FOLLOW_UNAPPENDED
#define released(j) given[j]
#else
#define released(j) landed[j]
#endif

/* Takes in what the owner j has released. What it had of former owners it has from its ring, trimmed or not. */
inline catch_up(who, whose) {
  x_changed = false;
  x_e = 1;
  do
  :: x_e <= mine[whose] ->
     x_to = (x_e == mine[whose] -> released(whose) : appended[x_e]);
     x_n = 1;
     do
     :: x_n <= x_to ->
        if
        :: position(x_e, x_n) > taken[who] -> replay(who, x_e, x_n, true)
        :: else
        fi;
        x_n++
     :: else -> break
     od;
     x_e++
  :: else -> break
  od;
  taken[who] = position(mine[whose], released(whose));
  dirty[who] = dirty[who] || x_changed;
  x_changed = false; x_e = 0; x_n = 0; x_m = 0; x_to = 0
}

/* The mark that a write-back begins reaches a standby, in order with the records, or is missed. */
inline mark_begun(by, at) {
  if
  :: phase[at] == JOINS && followed[at] == by + 1 && its_epoch[at] == mine[by] ->
     if
     :: catch_up(at, by);
#ifdef FAULT_FORGET_AT_BEGUN
        dirty[at] = false;
#else
        pending[at] = pending[at] || dirty[at]; dirty[at] = false;
#endif
        if
        :: table[at] == FRESH && whole[at] -> table[at] = CANDIDATE
        :: else
        fi
     :: missed(at)
     fi
  :: else
  fi
}

inline mark_ended(by, at) {
  if
  :: phase[at] == JOINS && followed[at] == by + 1 && its_epoch[at] == mine[by] ->
     if
     :: catch_up(at, by);
        pending[at] = false;
        table[at] = (table[at] == CANDIDATE -> SETTLED : table[at])
     :: missed(at)
     fi
  :: else
  fi
}

inline mark_failed(by, at) {
  if
  :: phase[at] == JOINS && followed[at] == by + 1 && its_epoch[at] == mine[by] -> catch_up(at, by); missed(at)
  :: else
  fi
}

/* After a cut in which marks may have been missed, or the mark that a write-back failed. */
inline missed(one) {
  dirty[one] = dirty[one] || pending[one]; pending[one] = false;
  table[one] = (table[one] == CANDIDATE -> FRESH : table[one])
}

/* ---- the steps of a process ---- */

#define older_streams(i) ((mine[i] > 1 && stream[1] == SEALED) || (mine[i] > 2 && stream[2] == SEALED))
#define is_followed(i) (phase[followed[i] - 1] != OFF && mine[followed[i] - 1] == its_epoch[i])

#ifdef FAULT_PICTURE_BEFORE_APPEND
#define picture_safe(i) true
#else
#define picture_safe(i) (landed[followed[i] - 1] >= whole_at[i])
#endif
#ifdef FAULT_WRITE_BACK_BEFORE_APPEND
#define rows_safe(i) true
#else
#define rows_safe(i) (landed[i] == given[i] || !(dirty[i] || rewrite[i]))
#endif
#ifdef FAULT_CLAIM_WITHOUT_CONDITION
#define may_claim(i) true
#else
#define may_claim(i) (saw[i] == epoch)
#endif
#ifdef FAULT_HAND_OVER_BEFORE_APPEND
#define ended(i) true
#else
#define ended(i) (landed[i] == given[i])
#endif

proctype process(byte i) {
  byte m;

end:
  do

  /* A push comes: a position, the row, the queue. One step, as all of it is RAM. A position comes before its append. */
  :: atomic { phase[i] == SERVES && given[i] < 2 ->
       m = 0;
       do
       :: m + 1 < MUTATIONS -> m++
       :: break
       od;
       if
       :: !(window[i] & bit_of(m)) && !(given[i] > landed[i] && record(mine[i], landed[i] + 1) == m) &&
          !(given[i] > landed[i] + 1 && record(mine[i], landed[i] + 2) == m) && (!removes(m) || (acknowledged & 1)) ->
          given[i]++;
          record(mine[i], given[i]) = m;
          apply(i, m, position(mine[i], given[i]));
          dirty[i] = dirty[i] || x_changed; x_changed = false;
#ifdef FAULT_ACKNOWLEDGE_BEFORE_APPEND
          acknowledge(i, m);
          check_redis()
#endif
       :: (window[i] & bit_of(m)) && !(acknowledged & bit_of(m)) ->   /* A repeat is answered as before. */
          acknowledge(i, m);
          check_redis()
       :: else
       fi;
       m = 0
     }

  /* XADD with NOMKSTREAM, and what its answer sets off: the request id is known, the client is told, or cannot be. An owner
     that is paused between the two could not be told from one whose client is not told, and then asks again. */
  :: atomic { phase[i] != OFF && landed[i] < given[i] ->
       m = record(mine[i], landed[i] + 1);
       if
       :: stream[mine[i]] == OPEN ->
          appended[mine[i]]++;
          landed[i]++; window[i] = window[i] | bit_of(m);
          if
          :: acknowledge(i, m)
          :: skip
          fi;
          changes_redis(i);
          check_redis()
       :: else ->
#ifdef FAULT_APPEND_CREATES_THE_STREAM
          /* In a stream of the sealed one's name, which no owner of now looks at. */
          landed[i]++; window[i] = window[i] | bit_of(m);
          acknowledge(i, m);
          check_redis()
#else
          assert(phase[i] != HANDED);   /* Who was taken in before an orderly stop gets an answer. */
          forget(i)
#endif
       fi;
       m = 0
     }

  /* ---- write-back, in four steps ---- */

  /* What is done, and the answers to it, are taken before any row is; the standbys are told. */
  :: atomic { (phase[i] == SERVES || phase[i] == LAST) && stage[i] == 0 &&
              (phase[i] == LAST || dirty[i] || rewrite[i] || first[mine[i]] < landed[i] || older_streams(i)) ->
       back_through[i] = landed[i];
       back_window[i] = window[i];
       mark_begun(i, 0);
       mark_begun(i, 1);
#if PROCESSES > 2
       mark_begun(i, 2);
#endif
       stage[i] = 1
     }

  /* Rows: taken, then written in a transaction that watches the fence. One step, as an owner that is paused between the two
     writes what it had when it was paused, and would have that later, too. They wait until all that shows in them is
     appended; so taking them before that wait, or after it, is the same but for what comes meanwhile. */
  :: atomic { stage[i] == 1 && rows_safe(i) ->
       if
       :: !(dirty[i] || rewrite[i]) -> stage[i] = 2
#ifndef FAULT_NO_ROW_FENCE
       :: (dirty[i] || rewrite[i]) && fence != mine[i] -> forget(i)
       :: (dirty[i] || rewrite[i]) && fence == mine[i] ->
#else
       :: (dirty[i] || rewrite[i]) ->
#endif
          changes_redis(i);
          copy_row(REDIS, i);
          dirty[i] = false; rewrite[i] = false;
          stage[i] = 2;
          check_redis()
       fi
     }

#ifdef FAILURES
  /* Redis fails in between: what was written is written again. */
  :: atomic { stage[i] == 2 ->
       dirty[i] = true; stage[i] = 0; back_through[i] = 0; back_window[i] = 0;
       mark_failed(i, 0);
       mark_failed(i, 1);
#if PROCESSES > 2
       mark_failed(i, 2)
#endif
     }
#endif

  /* The answers and `through`, in a script that compares epoch and owner. */
  :: atomic { stage[i] == 2 ->
       if
#ifndef FAULT_STATE_WITHOUT_OWNER
       :: epoch != mine[i] || owner != i -> forget(i)
       :: epoch == mine[i] && owner == i ->
#else
       :: true ->
#endif
          changes_redis(i);
#ifdef FAULT_THROUGH_TAKEN_LATE
          back_through[i] = landed[i]; back_window[i] = window[i];
#endif
#ifdef FAULT_TRIM_BEFORE_WINDOWS
          skip;
#else
          window[REDIS] = back_window[i];
#endif
          through = position(mine[i], back_through[i]);
          mark_ended(i, 0);
          mark_ended(i, 1);
#if PROCESSES > 2
          mark_ended(i, 2);
#endif
          stage[i] = 3;
          check_redis()
       fi
     }

  /* Sealed streams go, then the own one is trimmed. One step: a process that dies between the two has left more, not less;
     one that is paused finds its stream renamed, or does it before that. */
  :: atomic { stage[i] == 3 ->
       m = 1;
       do
       :: m < mine[i] ->
          stream[m] = (stream[m] == SEALED -> DELETED : stream[m]);
          m++
       :: else -> break
       od;
       m = 0;
       first[mine[i]] = (stream[mine[i]] == OPEN -> back_through[i] : first[mine[i]]);
       stage[i] = 0; back_through[i] = 0; back_window[i] = 0;
       check_redis();
       if
       :: phase[i] == LAST ->   /* The stream of an orderly stop goes if it is empty. */
          stream[mine[i]] =
            (stream[mine[i]] == OPEN && first[mine[i]] == appended[mine[i]] -> DELETED : stream[mine[i]]);
          check_redis();
          forget(i)
       :: else
       fi
     }

#ifdef FAULT_TRIM_BEFORE_ROWS
  :: atomic { phase[i] == SERVES && stage[i] == 1 && stream[mine[i]] == OPEN ->
       first[mine[i]] = back_through[i];
       check_redis()
     }
#endif

  /* ---- start ---- */

  :: atomic { phase[i] == OFF && may(COLD, i) && epoch < EPOCHS ->
       epoch++; owner = i; mine[i] = epoch; phase[i] = CLAIMED
     }

  :: atomic { phase[i] == OFF && may(STANDBY, i) && owner != i && phase[owner] == SERVES && mine[owner] == epoch ->
       /* It follows from a picture: rows and windows of the moment, sent once the journal has what shows in them. */
       copy_row(i, owner);
       window[i] = window[owner];
       followed[i] = owner + 1; its_epoch[i] = epoch; taken[i] = position(epoch, landed[owner]);
       whole_at[i] = given[owner];
       phase[i] = JOINS
     }

  :: atomic { phase[i] == JOINS && !whole[i] ->
       if
       :: phase[followed[i] - 1] == SERVES && mine[followed[i] - 1] == its_epoch[i] && picture_safe(i) ->
          whole[i] = true; whole_at[i] = 0
       :: !(phase[followed[i] - 1] == SERVES && mine[followed[i] - 1] == its_epoch[i]) -> forget(i)
       fi
     }

  :: atomic { phase[i] == JOINS && whole[i] && is_followed(i) &&
              taken[i] < position(its_epoch[i], released(followed[i] - 1)) ->
       catch_up(i, followed[i] - 1)
     }

  /* Another one serves: it is followed from where this one is. */
  :: atomic { phase[i] == JOINS && whole[i] && owner != i && its_epoch[i] < epoch && phase[owner] == SERVES &&
              mine[owner] == epoch ->
       followed[i] = owner + 1; its_epoch[i] = epoch;
       missed(i);
       catch_up(i, owner)
     }

  /* ---- take-over ---- */

  /* A standby that may try looks who the owner is: the one that it followed, or one that it never heard of. */
  :: atomic { phase[i] == JOINS && whole[i] && saw[i] != epoch -> saw[i] = epoch }

  /* The claim, in one script: epoch and owner must be as they were seen. (Every epoch has one owner here.) */
  :: atomic { phase[i] == JOINS && whole[i] && epoch < EPOCHS && saw[i] != 0 && may_claim(i) ->
       assert(saw[i] == epoch);   /* Of standbys that see one owner go, one takes over from it. */
       epoch++; owner = i; mine[i] = epoch; phase[i] = CLAIMED;
       followed[i] = 0; its_epoch[i] = 0; saw[i] = 0
     }

  /* Fences, seal, rows or tail, a stream of its own. One step: what a predecessor does between claim and seal it may as
     well do before the claim, save writing state, which fails from the claim on; after the seal it can do nothing. What a
     later claimer does in between makes the last part fail, in which everything is dropped that was read. */
  :: atomic { phase[i] == CLAIMED ->
       fence = (fence < mine[i] -> mine[i] : fence);
#ifndef FAULT_NO_SEAL
       m = 1;
       do
       :: m < mine[i] ->
          stream[m] = (stream[m] == OPEN -> SEALED : stream[m]);
          m++
       :: else -> break
       od;
       m = 0;
#endif
       x_changed = false;
       x_tail = whole[i];
#ifndef FAULT_IGNORE_THROUGH
       x_tail = x_tail && taken[i] >= through;   /* Else it is behind: what it lacks may be trimmed. */
#endif
       if
       :: x_tail ->
#ifndef FAULT_SKIP_TAIL
          replay_streams(i, taken[i], EXACT);
#endif
          dirty[i] = dirty[i] || pending[i] || x_changed;
#ifndef FAULT_UNSETTLED_NOT_REWRITTEN
          rewrite[i] = table[i] != SETTLED
#endif
       :: else ->
          copy_row(i, REDIS);
          window[i] = window[REDIS];
          replay_streams(i, 0, EXACT);
#ifdef FAULT_REPLAY_FORGETS_IDS
          window[i] = window[REDIS];
#endif
          dirty[i] = x_changed
       fi;
       x_changed = false; x_e = 0; x_n = 0; x_m = 0;
       table[i] = FRESH; whole[i] = false; pending[i] = false; taken[i] = 0; given[i] = 0; landed[i] = 0;
       if
#ifndef FAULT_OPEN_WITHOUT_OWNER
       :: epoch != mine[i] || owner != i -> forget(i)
       :: epoch == mine[i] && owner == i ->
#else
       :: true ->
#endif
          stream[mine[i]] = OPEN;
          phase[i] = SERVES;
          assert(sound(i));
#ifdef FAULT_SEALED_DELETED_EARLY
          stream[mine[i] - 1] = DELETED;
#endif
          check_redis()
       fi;
       x_tail = false
     }

  /* ---- orderly stop ---- */
#ifdef HAND_OVER
  :: atomic { phase[i] == SERVES && stage[i] == 0 -> phase[i] = DRAINS }

  /* The message goes to standbys that are caught up; with it nothing is left under way. */
  :: atomic { phase[i] == DRAINS && ended(i) -> phase[i] = HANDED
     }

  /* Another one has it: the end, without write-back. */
  :: atomic { phase[i] == HANDED && (epoch != mine[i] || owner != i) ->
       assert(landed[i] == given[i]);   /* Whoever was taken in before the stop was answered. */
       forget(i)
     }

  /* Nobody took it in time: write-back as ever. */
  :: atomic { phase[i] == HANDED && landed[i] == given[i] && epoch == mine[i] && owner == i -> phase[i] = LAST }
#endif

  /* kill -9 */
  :: atomic { kills < KILLS && phase[i] != OFF -> kills++; forget(i) }

  od
}


init {
  atomic {
    x_j = 0;
    do
    :: x_j < PROCESSES -> phase[x_j] = OFF; table[x_j] = FRESH; x_j++
    :: else -> break
    od;
    x_j = 0;
    do
    :: x_j <= EPOCHS -> stream[x_j] = NONE; x_j++
    :: else -> x_j = 0; break
    od;
    stream[1] = OPEN; phase[0] = SERVES; mine[0] = 1;
    run process(0);
    run process(1);
#if PROCESSES > 2
    run process(2)
#endif
  }
}
