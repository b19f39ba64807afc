#ifndef GPIO_H
#define GPIO_H

typedef enum { GPIO_NUM_NC = -1, GPIO_NUM_4 = 4, GPIO_NUM_5, GPIO_NUM_6, GPIO_NUM_17 = 17 } gpio_num_t;

#endif
