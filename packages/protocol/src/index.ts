export {
  assemble,
  canonicalStep,
  countSteps,
  type Derived,
  decodeEnd,
  derive,
  isCompleted,
  MAX_STEPS,
  openStep,
  type TraceState,
} from './assemble.ts'
export type { Delta, DeltaEnd, Expected, Said, StepTuple } from './delta.ts'
export { type EntryEquation, type EquationReplies, entryEquation, unreadEntries } from './entry-equation.ts'
export {
  InvalidInputError,
  InvalidStatusError,
  StepNotStartedError,
  StepwellError,
  TraceContextError,
} from './errors.ts'
export {
  encodeFrame,
  encodeFrameHead,
  FRAME_MAX_BYTES,
  FRAME_UNPACKED_MAX_BYTES,
  FRAME_VERSION,
  type Frame,
  frameFields,
  type ProducerCounters,
  READ_VERSIONS,
  unpackDeltas,
} from './frame.ts'
export { DELTA_CUT, isCuttable } from './frame-cuts.ts'
export {
  compareStepIds,
  EARLIEST_START_MS,
  LATEST_START_AHEAD_MS,
  newProducerId,
  newTraceId,
  PRODUCER_ID,
  parseStepId,
  parseTraceId,
  producerOfStep,
  repeatableTraceId,
  STEP_ID_TEXT,
  tellsStart,
  traceIdStart,
} from './ids.ts'
export { JsonBytes } from './json-bytes.ts'
export {
  CORRELATION_TTL_S,
  correlationKey,
  DEFAULT_NAMESPACE,
  GROUP,
  NAMESPACE,
  openName,
  producerOfField,
  recordOfDelta,
  SHARD_KEY_TYPES,
  type ShardKeys,
  saidOfRecord,
  shardKeys,
  shardOf,
} from './keys.ts'
export { metadataBits, metadataMask } from './metadata-bits.ts'
export {
  addMonths,
  isoTime,
  type Month,
  monthBounds,
  monthOf,
  monthOfPartition,
  partitionName,
} from './months.ts'
export { type OpenRecord, openRecord, openRecords, recordHead } from './open-records.ts'
export { PartCopies } from './part-copies.ts'
export {
  boundText,
  canonicalJson,
  cleanJson,
  cleanText,
  DEPTH_MAX,
  ERROR_MAX_LENGTH,
  encodeAndCopy,
  encodeObject,
  hasSuspiciousEscape,
  METADATA_MAX_LENGTH,
  NAME_MAX_LENGTH,
  REDACTED,
  TRUNCATED_KEY,
  textOf,
  writeAndCopy,
} from './plain-json.ts'
export {
  encodeTold,
  type ProducerTotals,
  producerTotals,
  TOLD_FOR_MS,
  TOLD_MAX_PRODUCERS,
  toldAtMs,
} from './producer-totals.ts'
export { PartTable } from './read-parts.ts'
export {
  makeRedactor,
  type RedactOptions,
  type Redactor,
  redactMessage,
} from './redact.ts'
export { replyFields } from './redis-reply.ts'
export {
  parseRedisUrl,
  type RedisCredentials,
  type RedisNode,
  type RedisPlace,
  redisHosts,
} from './redis-url.ts'
export {
  type MergeState,
  rowOfState,
  type SummaryRow,
  sameRow,
  stateOfRow,
  stepOfTuple,
  summaryOfRow,
  type TraceRow,
  traceOfRow,
} from './row.ts'
export { compareIds, RunPart } from './run-part.ts'
export {
  DELTA_OF_TRACE,
  END_TRACE,
  FINAL_STATUSES,
  type FinalStatus,
  type Json,
  type JsonObject,
  STEP_STATUSES,
  type Step,
  type StepId,
  type StepStatus,
  TRACE_STATUSES,
  type Trace,
  type TraceContextData,
  type TraceEnd,
  type TraceStatus,
  type TraceSummary,
} from './trace.ts'
