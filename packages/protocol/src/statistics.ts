export { ByteReader, ByteWriter } from './bytes.ts'
export { DurationSketch, SKETCH_RELATIVE_ERROR } from './duration-sketch.ts'
export { addParts, HourRollup, PART_MINUTES } from './hour-rollup.ts'
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
export { type CountedTrace, OTHER_STEPS, Rollup, STEP_NAMES_MAX, StepRollup } from './rollup.ts'
export { RunRollup, type StatusCounts } from './run-rollup.ts'
export { addOverview, addTotal, encodeOverview, encodeTotal } from './skill-overview.ts'
export { type StepWidth, searchKeys, stepKeys, stepRanges } from './step-keys.ts'
export { type NamedStep, StoredSteps } from './stored-steps.ts'
