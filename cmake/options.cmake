# Warnings and sanitizers, for every target.
add_compile_options(-Wall -Wextra -Wundef -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -Wswitch -Wpointer-arith -Wvla)
if(PERF_STRICT)
    add_compile_options(-Werror)
endif()
if(PERF_SANITIZE)
    add_compile_options(-fsanitize=${PERF_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${PERF_SANITIZE})
endif()
