import {ask as question} from '../ask';

let calls = 0;
const greeting = question('at first');      // a module may wait when it is first required in a handler

export const ask = name => `${greeting}, ${question(name)}`;
export const count = () => String(++calls);
