export {
  InvalidInputError,
  InvalidStatusError,
  type Step,
  StepNotStartedError,
  StepwellError,
  type Trace,
  type TraceContextData,
  TraceContextError,
} from '@stepwell/protocol'
export type { DropReason, TracerCounters } from './counters.ts'
export { type AttachedTrace, type StepHandle, step, type TraceHandle } from './handles.ts'
export type { TracerOptions } from './options.ts'
export { TraceRecorder } from './recorder.ts'
export type { StepOptions } from './recording.ts'
export type { TracerReport } from './report.ts'
export type { OutgoingFrame, Sink } from './sink.ts'
export type { SpoolOptions } from './spool.ts'
export { TraceContext } from './trace-context.ts'
export { type EndOptions, ExecutionTracer, type LiveTrace, type TraceOptions } from './tracer.ts'
