import type { JsonObject } from '@stepwell/protocol'
import type { FailureFinding, NumberFinding } from './explain-failures.ts'
import type { FailureReport, RunsLookedAt } from './explain-window.ts'
import { present } from './json-form.ts'

/** What sets failing runs apart, in the form that it has outside of TypeScript: see `json-form.ts`. A lift that is infinite is absent. */
export function explanationJson(report: FailureReport): JsonObject {
  return present({
    failing: lookedJson(report.failing),
    good: lookedJson(report.good),
    test_count: report.testCount,
    findings: report.findings.map(findingJson),
    findings_truncated: report.findingsTruncated,
  })
}

const lookedJson = ({ since, until, looked, of, ofTruncated }: RunsLookedAt): JsonObject =>
  present({ since, until, looked, of, of_truncated: ofTruncated })

function findingJson(finding: FailureFinding | NumberFinding): JsonObject {
  return present({
    kind: finding.kind,
    skill_name: finding.kind === 'skill' ? finding.skillName : undefined,
    step_name: 'stepName' in finding ? finding.stepName : undefined,
    path: 'path' in finding ? finding.path : undefined,
    value: 'value' in finding ? finding.value : undefined,
    failing: { ...finding.failing },
    good: { ...finding.good },
    lift: 'lift' in finding && Number.isFinite(finding.lift) ? finding.lift : undefined,
    superiority: 'superiority' in finding ? finding.superiority : undefined,
    p_value: finding.pValue,
  })
}
