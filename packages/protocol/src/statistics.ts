export { ByteReader } from './bytes.ts'
export { DurationSketch, SKETCH_RELATIVE_ERROR } from './duration-sketch.ts'
export {
  clipped,
  type MinuteRange,
  minuteOf,
  parseRanges,
  rangesText,
  unionOf,
  wholeOf,
  widened,
  without,
} from './minute-ranges.ts'
export {
  type CountedTrace,
  DurationRollup,
  OTHER_STEPS,
  Rollup,
  STEP_NAMES_MAX,
  type StatusCounts,
  StepRollup,
} from './rollup.ts'
