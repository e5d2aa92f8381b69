import {Named} from './types';

export const name: string = `${'second'}`;
export function make(): Named { return {name: name}; }
