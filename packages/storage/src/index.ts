export { type AppliedMonth, type ApplyOptions, applyRetention } from './apply-retention.ts'
export type { RemovedTrace } from './copy-month.ts'
export { type Database, type DatabaseConfig, openDatabase, type Patience } from './database.ts'
export {
  countDeadLetters,
  DEAD_LETTER_BOUNDS,
  type DeadLetterBounds,
  expireDeadLetters,
  forgetNotKept,
  listNotKept,
  type NotKept,
  totalNotKept,
} from './dead-letter-bounds.ts'
export { boundPayload, DeadLetterWriter, PAYLOAD_MAX_LENGTH } from './dead-letter-writer.ts'
export {
  type DeadLetter,
  type DeadLetterFilters,
  type DeadLetterReason,
  deleteDeadLetters,
  listDeadLetterReasons,
  listDeadLetters,
  type StoredDeadLetter,
} from './dead-letters.ts'
export type { TraceInput } from './delta-of-trace.ts'
export { expireFailures } from './expire-failures.ts'
export { FailureCatalogue, type Occurrence } from './failure-catalogue.ts'
export { type FailureMarks, failureMarks, type MessageMarks, messageMarks } from './failure-marks.ts'
export { NOTE_MAX_LENGTH, setFailureGroupNote } from './failure-notes.ts'
export { TraceGoneError } from './gone-traces.ts'
export { lateWriteStatement, type TraceKey } from './late-writes.ts'
export { checkMigrations, type MigrationReport, migrateToLatest, SchemaTooNewError } from './migrate.ts'
export {
  type DroppedMonth,
  dropPartitionsBefore,
  ensurePartitions,
  listPartitions,
  MONTHS_AHEAD,
  monthsAround,
} from './partitions.ts'
export { type RebuildOptions, type RebuiltFailures, rebuildFailures } from './rebuild-failures.ts'
export { type RebuildProgress, rebuildRollups } from './rebuild-rollups.ts'
export { type RefreshReport, refreshRollups } from './refresh-rollups.ts'
export { type RegroupedFailures, regroupFailures } from './regroup-failures.ts'
export {
  type PlannedClass,
  type PlannedMonth,
  planRetention,
  REWRITE_MIN_SHARE,
} from './retention-plan.ts'
export {
  classOf,
  classText,
  KEEP_MIN_DAYS,
  parseRetentionRules,
  type RetentionPolicy,
  type RetentionRule,
  sortRules,
} from './retention-policy.ts'
export { OldSnapshotError, type RewriteStage } from './rewrite-month.ts'
export type {
  DeadLettersNotKeptTable,
  DeadLettersTable,
  ExecutionTracesTable,
  FailureNotesTable,
  FailurePatternsTable,
  FailureSignaturesTable,
  LateWritesTable,
  RetentionTable,
  Tables,
} from './tables.ts'
export { type FinalizedTrace, TraceStorage, type TraceStorageOptions } from './trace-storage.ts'
export { compareKeys, type TraceDeltas, TraceWriter, WRITE_MAX_TRACES, type Written } from './trace-writer.ts'
export { isConflict, isMissingPartition, isOfStatement, isTransient, sqlState } from './transient-error.ts'
