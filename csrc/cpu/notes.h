// notes: the notes of a line, which is one track of one phrase, its time running through the bars.
#include "rows.h"

// A step in which notes start or end; those that end sounded up to the step before.
struct NoteEvent {
  Row starts, ends;
  int64_t step;
};
static_assert(sizeof(NoteEvent) == kNoteEventBytes, "events are allocated by csrc/notes.cpp");

template <bool packed>
static int64_t note_events_in(const uint8_t* frame, const uint8_t* onset, int64_t n_steps, int n, NoteEvent* events,
                              int64_t* n_notes) {
  const auto row_at = [n](const uint8_t* plane, int64_t step) {
    return packed ? row_of_packed(plane + step * ((n + 7) / 8), n) : row_of_bytes(plane + step * n, n);
  };
  int64_t n_events = 0, n_starts = 0;
  Row before = {0, 0}, outside = {0, 0};
  for (int64_t step = 0; step < n_steps; ++step) {
    const Row sounds = row_at(frame, step);
    Row starts = sounds & ~before;
    if (onset != nullptr) {
      const Row struck = row_at(onset, step);
      outside = outside | (struck & ~sounds);
      starts = starts | struck;
    }
    const Row ends = before & (starts | ~sounds);
    events[n_events] = {starts, ends, step};  // overwritten where nothing happens: cheaper than a branch
    n_events += any(starts | ends);
    n_starts += count(starts);
    before = sounds;
  }
  events[n_events] = {{0, 0}, before, n_steps};
  *n_notes = any(outside) ? -1 : n_starts;
  return n_events + 1;
}

static int64_t note_events(const uint8_t* frame, const uint8_t* onset, int64_t n_steps, int n, bool packed,
                           void* events, int64_t* n_notes) {
  NoteEvent* const out = static_cast<NoteEvent*>(events);
  return packed ? note_events_in<true>(frame, onset, n_steps, n, out, n_notes)
                : note_events_in<false>(frame, onset, n_steps, n, out, n_notes);
}

// Rows of sample, track, pitch_index, start_step, end_step, in the order in which the notes start.
static void write_notes(const void* events, int64_t n_events, int64_t sample, int64_t track, int64_t* out) {
  int64_t* sounding[128];  // of each pitch that sounds, its note
  const NoteEvent* event = static_cast<const NoteEvent*>(events);
  for (const NoteEvent* const last = event + n_events; event != last; ++event) {
    const uint64_t starts[2] = {event->starts.low, event->starts.high};
    const uint64_t ends[2] = {event->ends.low, event->ends.high};
    for (int word = 0; word < 2; ++word) {
      for (uint64_t left = ends[word]; left != 0; left &= left - 1) {
        sounding[64 * word + __builtin_ctzll(left)][4] = event->step;
      }
      for (uint64_t left = starts[word]; left != 0; left &= left - 1) {
        const int pitch = 64 * word + __builtin_ctzll(left);
        sounding[pitch] = out;
        out[0] = sample, out[1] = track, out[2] = pitch, out[3] = event->step;
        out += 5;
      }
    }
  }
}
