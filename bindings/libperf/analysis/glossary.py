"""What the classes of bottlenecks mean: the sentences of docs/bottlenecks.md and of the HTML report."""

__all__ = ["CLASSES", "LIMITS"]

CLASSES = {
    "critical": (
        "The program waits for this operation, and for nothing that stands in front of it. "
        "Every second that it takes less is a second less for the whole, until something else is the longest way. "
        "Make it faster, start it earlier, run its calls side by side, or do not repeat it."
    ),
    "saturated": (
        "A semaphore, executor or queue is in use almost all the time, and waiting for it takes longer than using it. "
        "More work only makes the line longer. "
        "Raise its capacity if what is behind it can take that; else make what holds it shorter."
    ),
    "undersized": (
        "Its capacity is in the way, although it is not in use all the time: work comes in bursts. "
        "A larger capacity lets a burst through at once. "
        "Raise it, or spread the work."
    ),
    "rate-limited": (
        "Calls are let through at even gaps, whenever callers come. "
        "Faster calls do not help, because the gap is what they wait for. "
        "Ask for a higher rate or quota, or batch, so that fewer calls need a grant."
    ),
    "convoy": (
        "A lock is free most of the time, and yet tasks wait for it, because they all come at the same moment. "
        "They go on one behind the other, and meet again at the next lock. "
        "Hold the lock for a shorter time, or give each part of the data a lock of its own."
    ),
    "loop-bound": (
        "A coroutine computes, or calls something that blocks, while other tasks of its event loop could run. "
        "All of them wait for it, also those that have nothing to do with it. "
        "Move it to a thread (asyncio.to_thread), or use an awaitable version of what it calls."
    ),
    "gil-bound": (
        "Threads that use the CPU take turns, since only one at a time has the interpreter. "
        "More threads do not make them faster, and an event loop beside them answers late. "
        "Use processes, or a library that frees the interpreter while it works."
    ),
    "barrier": (
        "Siblings are done, and wait for the slowest of them before anything goes on. "
        "Only the slowest counts; the others could take as long as it does. "
        "Make the slowest faster or split it, or let what follows begin with what is there."
    ),
    "framework-gap": (
        "Time of the graph itself, between its nodes: state, channels, checkpoints. "
        "It grows with the number of nodes and the size of the state. "
        "Use fewer and larger nodes, a smaller state, and a checkpointer that writes less often."
    ),
    "first-use": (
        "An import or the first call of something takes much longer than later ones, in the middle of the work. "
        "Whoever comes first pays for it. "
        "Do it when the program starts."
    ),
    "retry": (
        "Calls fail and are tried again; the failed tries and the pauses between them are lost time. "
        "The average hides it, because the last try succeeds. "
        "Remove the cause of the errors, or wait less between tries."
    ),
    "repeated": (
        "The same calls are made again and again, with arguments that they had before. "
        "A cache answers all but the first of them at once; who comes while that one is on its way waits for it. "
        "Cache it, unless every answer must be new."
    ),
    "many-small-calls": (
        "Many tasks make the same small call at one time, and each pays for it alone. "
        "One call for a list often takes hardly longer than a call for one thing; what it takes here nobody recorded, unless a "
        "batcher of that name has learned it. "
        "Batch them, if what is called can take a list."
    ),
    "slow-tail": (
        "Half of the calls are quick, and a few take most of the time. "
        "With many calls side by side, one of the slow ones is nearly always among them. "
        "Set a time limit and try again, or send a second request when the first is late."
    ),
    "memory-growth": (
        "The program's memory grows while this operation is at work, and does not shrink again. "
        "It costs time when memory runs short, and ends the program when there is none. "
        "Look for what keeps references: caches without a bound, growing states, histories of messages."
    ),
    "idle": (
        "A resource that nobody has to wait for. Changing it saves nothing. It is listed so that you need not look."
    ),
}

LIMITS = (
    "Each row is one change alone: two changes together are not the sum of their gains.",
    "Control flow stays as it was recorded: who won a race, which time limit fired, how often something was retried or polled.",
    "A service that gets slower under load (a model server, a disk) is taken to be as fast as it was.",
    "Threads that fight for the interpreter take turns by chance: with three or more of them runs differ by 20–30 %.",
    "C code that frees the interpreter is replayed as if it held it.",
    "What nobody recorded cannot be changed: work in other processes is a wait of the length it had, and so is what one end of "
    "a socket waits for when the other end is in the same program.",
    "A cache is taken to keep everything, and equal arguments to ask for the same; whether an older answer will do nobody "
    "recorded. Of an answered call nothing is left but what it means for others, and what it puts into a queue is worked on.",
    "Calls that are made together are taken to be one batch at a time, of at most 32; that it takes no longer than its longest "
    "call is an assumption, unless a batcher has learned what a batch takes, and is the most that it can bring.",
    "With more places a batcher's items form other batches, each of which takes what one of its size took; of items that no "
    "task awaits itself (gather() of several, threads) that is not replayed.",
    "Priority and LIFO queues are replayed first in, first out.",
    "A replay can fit the recorded run exactly and still be wrong about a change: expect about nine of ten to be right.",
)
