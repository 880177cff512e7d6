export { errorPattern, PATTERN_MAX_LENGTH, PATTERN_VERSION, patternId } from './error-pattern.ts'
export { wordSetId, wordsOf } from './error-words.ts'
export { groupPatterns, type PatternGroup } from './failure-groups.ts'
export { VARIABLE } from './pattern-writer.ts'
