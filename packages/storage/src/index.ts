export { type Database, type DatabaseConfig, openDatabase } from './database.ts'
export {
  type DeadLetter,
  deleteDeadLetters,
  listDeadLetters,
  PAYLOAD_MAX_LENGTH,
  type StoredDeadLetter,
  writeDeadLetters,
} from './dead-letters.ts'
export type { TraceInput } from './delta-of-trace.ts'
export { checkMigrations, type MigrationReport, migrateToLatest, SchemaTooNewError } from './migrate.ts'
export {
  dropPartitionsBefore,
  ensurePartitions,
  listPartitions,
  MONTHS_AHEAD,
  monthsAround,
} from './partitions.ts'
export type { DeadLettersTable, ExecutionTracesTable, Tables } from './tables.ts'
export { type FinalizedTrace, TraceStorage, type TraceStorageOptions } from './trace-storage.ts'
export { type TraceDeltas, TraceWriter, WRITE_MAX_TRACES, type Written } from './trace-writer.ts'
export { isMissingPartition, isTransient, sqlState } from './transient-error.ts'
