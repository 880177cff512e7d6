import {
  compareStepIds,
  DELTA_OF_TRACE,
  END_TRACE,
  type Step,
  stepOfTuple,
  type TraceEnd,
} from '@stepwell/protocol'
import type { OpenStep } from './open-steps.ts'
import type { OpenTrace } from './open-trace.ts'
import type { LiveTrace } from './tracer.ts'

/** A snapshot of an open trace for its host; `end` is called when it is finalized by another way than its tracer. */
export function liveTrace(trace: OpenTrace, end: (end: TraceEnd) => void): LiveTrace {
  const latest = trace.latestSteps()
  const completed = latest.map((tuple) => stepOfTuple(tuple, trace.startedAtMs))
  const steps = [...completed, ...[...trace.open].map(openStepOf)].sort((a, b) => compareStepIds(a.id, b.id))
  const { parent, executionId } = trace
  return {
    traceId: trace.traceId,
    skillName: trace.skill,
    ...(executionId === undefined ? {} : { executionId }),
    status: 'running',
    startedAt: new Date(trace.startedAtMs),
    stepCount: trace.counts.started,
    missingSteps: 0,
    metadata: trace.metadata,
    ...(parent === undefined
      ? {}
      : { parentTraceId: parent.traceId, rootTraceId: parent.rootTraceId ?? parent.traceId }),
    ...(parent?.stepId === undefined ? {} : { parentStepId: parent.stepId }),
    steps,
    stepsTruncated: steps.length < trace.counts.started,
    // After its end the trace itself keeps no steps.
    [DELTA_OF_TRACE]: () => trace.toDelta(trace.end === undefined ? trace.latestSteps() : latest),
    [END_TRACE]: end,
  }
}

function openStepOf(open: OpenStep): Step {
  const step: Step = {
    id: open.id,
    name: open.name,
    status: 'running',
  }
  if (open.startedAtMs !== null) step.timestamp = new Date(open.startedAtMs)
  if (open.parentId !== undefined) step.parentId = open.parentId
  if (open.attributes !== undefined) step.attributes = JSON.parse(open.attributes)
  return step
}
