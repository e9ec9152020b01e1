"""What is known of models' answers: which requests are the same, which answers may be kept, how they are streamed, and
made anew for each caller. The caches that use it: libperf.openai, libperf.langchain, libperf.langgraph, SemanticCache."""
